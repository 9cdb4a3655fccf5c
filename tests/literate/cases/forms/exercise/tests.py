# Generated from src/topics/basics/first.py: edit that file, then run doit. digest:0000000000000000

"""Tests of basics/first: First."""


# src/topics/basics/first.py:14
def double(x):
    """Twice."""
    y = x
    return 2 * y


# src/topics/basics/first.py:23
def test_double():
    assert double(2) == 4
