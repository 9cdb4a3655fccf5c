"""The TeX commands that stand for one character or one operator name."""

from __future__ import annotations


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


GREEK = _pairs(
    """
    alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ
    vartheta ϑ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ
    sigma σ varsigma ς tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω
    Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω
    """
)

RELATIONS = _pairs(
    """
    le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ ll ≪ gg ≫ equiv ≡ approx ≈ sim ∼ simeq ≃ cong ≅
    propto ∝ mid ∣ nmid ∤ parallel ∥ perp ⟂ in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆
    supset ⊃ supseteq ⊇ subsetneq ⊊ nsubseteq ⊈ prec ≺ preceq ⪯ succ ≻ succeq ⪰
    leqslant ⩽ geqslant ⩾ lesssim ≲ gtrsim ≳ doteq ≐ triangleq ≜ coloneqq ≔ asymp ≍
    models ⊨ vdash ⊢ dashv ⊣ lt < gt >
    to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ mapsto ↦ Rightarrow ⇒
    Leftarrow ⇐ Leftrightarrow ⇔ iff ⟺ implies ⟹ impliedby ⟸ longrightarrow ⟶
    longleftarrow ⟵ longleftrightarrow ⟷ Longrightarrow ⟹ longmapsto ⟼ uparrow ↑
    downarrow ↓ updownarrow ↕ Uparrow ⇑ Downarrow ⇓ nearrow ↗ searrow ↘ swarrow ↙
    nwarrow ↖ hookrightarrow ↪ hookleftarrow ↩ rightleftharpoons ⇌ rightharpoonup ⇀
    """
)

OTHERS = _pairs(
    """
    cdot ⋅ times × div ÷ pm ± mp ∓ circ ∘ ast ∗ star ⋆ bullet • oplus ⊕ ominus ⊖
    otimes ⊗ odot ⊙ oslash ⊘ cap ∩ cup ∪ sqcup ⊔ sqcap ⊓ uplus ⊎ setminus ∖ wedge ∧
    vee ∨ land ∧ lor ∨ neg ¬ lnot ¬ dagger † ddagger ‡
    sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigoplus ⨁
    bigotimes ⨂ bigodot ⨀ bigvee ⋁ bigwedge ⋀ bigsqcup ⨆
    partial ∂ nabla ∇ infty ∞ hbar ℏ ell ℓ Re ℜ Im ℑ aleph ℵ emptyset ∅ varnothing ∅
    angle ∠ triangle △ forall ∀ exists ∃ nexists ∄ top ⊤ bot ⊥ square □ blacksquare ■
    checkmark ✓ therefore ∴ because ∵ imath ı jmath ȷ prime ′ degree ° wp ℘
    ldots … dotsc … cdots ⋯ dotsb ⋯ dotsm ⋯ vdots ⋮ ddots ⋱
    """
)

# Opening and closing delimiters; the value is the character without its escape.
OPENING = _pairs("lvert | lVert ‖ langle ⟨ lfloor ⌊ lceil ⌈ lbrace { lbrack [ lparen (")
CLOSING = _pairs("rvert | rVert ‖ rangle ⟩ rfloor ⌋ rceil ⌉ rbrace } rbrack ] rparen )")
NEUTRAL = _pairs("vert | Vert ‖ backslash \\")

# Operator names that typst knows too, with the same limits.
_OPERATORS = """
    arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lim
    liminf limsup ln log max min Pr sec sin sinh sup tan tanh
"""
OPERATORS = frozenset(_OPERATORS.split())

SPACES = {
    ",": "thin",
    "thinspace": "thin",
    ":": "med",
    ">": "med",
    ";": "thick",
    "!": "#h(-0.1667em)",
    " ": "#h(0.28em)",
    "quad": "quad",
    "qquad": "wide",
}

ACCENTS = _pairs(
    """
    hat hat widehat hat tilde tilde widetilde tilde bar macron dot dot ddot dot.double
    vec arrow check caron acute acute grave grave breve breve mathring circle
    overline overline underline underline
    """
)

# Alphabets: the typst functions around the argument, outermost first.
ALPHABETS = {
    "mathrm": ("upright",),
    "mathbf": ("upright", "bold"),
    "boldsymbol": ("bold",),
    "mathit": ("italic",),
    "mathsf": ("upright", "sans"),
    "mathtt": ("mono",),
    "mathcal": ("cal",),
    "mathscr": ("scr",),
    "mathbb": ("bb",),
    "mathfrak": ("frak",),
}

# Alphabets in which several plain letters are one word, and typst's style for text.
WORDLIKE = {
    ("upright",): "",
    ("upright", "bold"): "bold",
    ("italic",): "italic",
    ("upright", "sans"): "sans",
    ("mono",): "mono",
}

TEXTS = {
    "text": "",
    "textrm": "",
    "textnormal": "",
    "textbf": "bold",
    "textit": "italic",
    "texttt": "mono",
    "textsf": "sans",
}

NEGATED = {"=": "≠", "in": "∉", "equiv": "≢", "sim": "≁", "approx": "≉", "subset": "⊄"}

# Why a command is refused, where the reason is not simply that it is unknown.
REFUSED = {
    "operatorname": "write \\mathrm{…} or \\text{…}, GitHub refuses it",
    "mbox": "write \\text{…}, GitHub refuses it",
    "bm": "write \\boldsymbol{…}, GitHub refuses it",
    "|": "write \\lVert … \\rVert",
    "tag": "refer to the equation in words",
    "label": "refer to the equation in words",
    "over": "write \\frac{…}{…}",
    "choose": "write \\binom{…}{…}",
    "hline": "leave the rule out",
    "\\": "put the lines into \\begin{aligned} … \\end{aligned}",
}
