"""Which names a statement binds, needs and changes, and which values are pure."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator

# Calls whose value depends on nothing but their arguments.
PURE_FUNCTIONS = frozenset(
    "abs bool dict enumerate float frozenset int len list max min range reversed round set "
    "sorted str sum tuple zip slice complex Fraction Path "
    "np.array np.asarray np.zeros np.ones np.full np.arange np.linspace np.logspace np.eye "
    "np.identity np.diag np.log np.log2 np.exp np.sqrt np.abs np.stack np.vstack np.hstack "
    "np.concatenate np.tile np.repeat np.tril np.triu np.outer np.float64 np.float32 "
    "np.zeros_like np.ones_like np.dtype np.finfo np.cos np.sin np.sum np.prod np.mean "
    "torch.tensor torch.zeros torch.ones torch.eye torch.arange torch.tril torch.triu "
    "math.sqrt math.log math.log2 math.exp math.prod math.cos math.sin math.comb "
    "math.factorial math.ceil math.floor".split()
)
PURE_METHODS = frozenset(
    "reshape astype copy transpose split join strip lower upper format encode decode sum mean "
    "max min swapaxes replace items keys values splitlines tolist ravel flatten".split()
)
MUTATING_METHODS = frozenset(
    "append extend insert pop remove clear sort reverse update setdefault add discard fill put "
    "resize itemset partition setflags popitem appendleft popleft".split()
)
# Functions that change their first argument: np.copyto(x, …), rng.shuffle(x).
MUTATING_FUNCTIONS = frozenset("copyto shuffle place put fill_diagonal putmask setattr".split())


def needed(node: ast.stmt) -> frozenset[str]:
    """The module-level names that `node` reads, wherever in it."""
    found: set[str] = set()

    def visit(table: symtable.SymbolTable, top: bool) -> None:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (top or symbol.is_global()):
                found.add(symbol.get_name())
        for child in table.get_children():
            visit(child, False)

    source = ast.unparse(node)
    visit(symtable.symtable(source, "<topic>", "exec"), True)
    own = bound(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else frozenset()
    return frozenset(found) - own


def bound(node: ast.stmt) -> frozenset[str]:
    """The module-level names that `node` binds or deletes."""
    table = symtable.symtable(ast.unparse(node), "<topic>", "exec")
    names = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    names |= {s.get_name() for s in table.get_symbols() if s.is_namespace()}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global):
            names |= set(inner.names)
        if isinstance(inner, ast.Delete):
            names |= {t.id for t in inner.targets if isinstance(t, ast.Name)}
    return frozenset(names)


def is_constant(node: ast.stmt) -> bool:
    """Whether `node` binds plain names to a pure value."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.value is not None and is_pure(node.value)
    if not isinstance(node, ast.Assign):
        return False
    names = [
        name
        for target in node.targets
        for name in (target.elts if isinstance(target, ast.Tuple) else [target])
    ]
    return all(isinstance(name, ast.Name) for name in names) and is_pure(node.value)


def is_pure(node: ast.expr) -> bool:
    """Whether an expression's value depends on nothing but the names in it."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if isinstance(inner, ast.Call):
            name = _dotted(inner.func)
            is_method = isinstance(inner.func, ast.Attribute) and inner.func.attr in PURE_METHODS
            if name not in PURE_FUNCTIONS and not is_method:
                return False
            if any(keyword.arg == "out" for keyword in inner.keywords):
                return False
    return True


def changes(statements: Iterable[tuple[ast.stmt, int]]) -> dict[str, list[int]]:
    """The lines at which each module-level name's value is changed in place."""
    listed = list(statements)
    mutators = {
        node.name: _changed_parameters(node)
        for node, _ in listed
        if isinstance(node, ast.FunctionDef)
    }
    found: dict[str, list[int]] = {}
    for node, line in listed:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            continue  # a test that changes a constant breaks only itself, and shows it
        shadowed = _locals(node)
        for name, offset in _changed(node, mutators):
            if name not in shadowed:
                found.setdefault(name, []).append(line + offset)
    return found


def _locals(node: ast.stmt) -> frozenset[str]:
    """Names that are a function's own, so that changing them changes no constant."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return frozenset()
    names: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        names.update(s.get_name() for s in table.get_symbols() if s.is_local() or s.is_parameter())
        for child in table.get_children():
            visit(child)

    for child in symtable.symtable(ast.unparse(node), "<topic>", "exec").get_children():
        visit(child)
    return frozenset(names)


def _changed_parameters(node: ast.FunctionDef) -> frozenset[int | str]:
    """Positions and names of the parameters that a function changes in place."""
    parameters = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
    changed = {name for name, _ in _changed(node, {})}
    places = {place for place, name in enumerate(parameters) if name in changed}
    return frozenset(places) | frozenset(name for name in parameters if name in changed)


def _changed(
    node: ast.stmt, mutators: dict[str, frozenset[int | str]]
) -> Iterator[tuple[str, int]]:
    """Names whose value `node` changes in place, and how many lines further down."""
    first = node.lineno
    for inner in ast.walk(node):
        names: list[str | None] = []
        targets: list[ast.expr] = []
        if isinstance(inner, ast.Assign | ast.Delete):
            targets = [t for t in inner.targets if isinstance(t, ast.Subscript | ast.Attribute)]
        elif isinstance(inner, ast.AugAssign) or (
            isinstance(inner, ast.For) and isinstance(inner.target, ast.Subscript)
        ):
            targets = [inner.target]
        names += [_base(target) for target in targets]
        if isinstance(inner, ast.Call):
            names += _changed_by_call(inner, mutators)
        for name in names:
            if name is not None:
                yield name, getattr(inner, "lineno", first) - first


def _changed_by_call(
    call: ast.Call, mutators: dict[str, frozenset[int | str]]
) -> Iterator[str | None]:
    function = call.func
    if isinstance(function, ast.Attribute):
        if function.attr in MUTATING_METHODS or (
            function.attr.endswith("_") and not function.attr.startswith("_")
        ):
            yield _base(function.value)
        if function.attr in MUTATING_FUNCTIONS | {"at"} and call.args:
            yield _base(call.args[0])
    elif isinstance(function, ast.Name):
        changed = mutators.get(function.id, frozenset())
        if function.id in MUTATING_FUNCTIONS:
            changed = frozenset({0})
        yield from (_base(arg) for place, arg in enumerate(call.args) if place in changed)
        yield from (_base(kw.value) for kw in call.keywords if kw.arg in changed)
    yield from (_base(kw.value) for kw in call.keywords if kw.arg == "out")


def _base(node: ast.expr) -> str | None:
    """The name at the bottom of `name.a[0].b`."""
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""
