"""Figures in fewer bytes, to look at as before."""

from literate.svg import lighter

WRITTEN = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
  "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg width="425.99952pt" viewBox="0 0 425.99952 224.4">
 <metadata>
  <dc:title>Matplotlib</dc:title>
 </metadata>
 <g id="text_1">
  <!-- $10^{0}$ -->
  <g transform="translate(59.587088 -0.004) scale(0.015625 -0.1)">
   <path id="DejaVuSans-14" d="M 794.123456 -531
L 18.996 5e-05
z
" style="stroke-width: 0.61234"/>
   <image id="image9079158119" x="1.2345" href="#m6e64a0.12345"/>
  </g>
 </g>
</svg>
"""
LIGHTER = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<svg width="426pt" viewBox="0 0 425.99952 224.4">
<g id="text_1">
<g transform="translate(59.59 0) scale(0.015625 -0.1)">
<path id="DejaVuSans-14" d="M 794.12 -531 L 19 5e-05 z" style="stroke-width: 0.61234"/>
<image x="1.23" href="#m6e64a0.12345"/>
</g>
</g>
</svg>
"""


def test_lengths_are_short_and_the_rest_is_as_it_was() -> None:
    assert lighter(WRITTEN) == LIGHTER


def test_what_is_light_stays() -> None:
    assert lighter(LIGHTER) == LIGHTER
