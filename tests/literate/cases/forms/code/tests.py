# Generated from src/topics/basics/first.py: edit that file, then run doit. digest:0000000000000000

"""Tests of basics/first: First."""


# src/topics/basics/first.py:14
def f(x):
    return x + 1


# src/topics/basics/first.py:21
def test_f():
    assert f(1) == 2
