"""Finds the residual branches of a traced model: what is added to what it was computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from initlab.models.graph import Graph, Known, Node, Slot


@dataclass(frozen=True)
class Addition:
    """One residual addition.

    Attributes
    ----------
    node
        The sum.
    skip
        The signal that is passed on.
    branch
        The branch's output.
    inside
        Nodes of the branch, in execution order.
    end
        The node that sets the size of the branch's output: a layer, a normalisation, or a product
        with a parameter; None if there is none.
    stream, index, count
        Which stream it adds to, which branch of it it is, and how many there are.
    start
        The skip of the stream's first addition.
    normalised
        True if the branch reads the stream through a normalisation or ends in one.
    post_norm
        True if the sum is normalised before anything else reads it.
    """

    node: int
    skip: int
    branch: int
    inside: tuple[int, ...]
    end: int | None
    stream: int = 0
    index: int = 0
    count: int = 1
    start: int = 0
    normalised: bool = False
    post_norm: bool = False


def additions(graph: Graph) -> tuple[Addition, ...]:
    """Return the residual additions in execution order.

    ``a + b`` is one if b was computed from a by way of a weight, or if a is a mere projection of
    what b was computed from by a block of layers. The additions onto one signal, with nothing in
    between but operations that keep its direction (shape, activation, dropout), form a stream.
    """
    ancestors = graph.ancestors()
    found: dict[int, list[Addition]] = {}
    streams: dict[int, int] = {}
    projected: set[int] = set()
    for node in graph.nodes:
        terms = _terms(node)
        if terms is None:
            continue
        for skip, branch in (terms, terms[::-1]):
            base = _base(graph, skip, branch, found, ancestors)
            if base is None:
                continue
            passed_on = any(ancestors[branch] >> place & 1 for place in (skip, _root(skip, found)))
            if not passed_on and not _is_shortcut(graph, node, skip, branch, base, ancestors):
                continue
            if branch in projected:  # two branches that are summed before they are added
                projected.discard(branch)
                del found[branch]
            pieces = list(_pieces(graph, branch, base, ancestors))
            if not pieces:
                continue
            if not passed_on:
                projected.add(node.index)
            start = _start(graph, skip, found)
            stream = streams.setdefault(start, len(streams))
            found[node.index] = [
                Addition(node.index, skip, piece, inside, end, stream, start=start)
                for piece, inside, end in pieces
            ]
            break
    return tuple(_numbered(graph, [one for many in found.values() for one in many]))


def _base(
    graph: Graph,
    skip: int,
    branch: int,
    found: dict[int, list[Addition]],
    ancestors: list[int],
) -> int | None:
    """Return the signal that a branch starts from, if the other term passes that signal on."""
    if skip == branch:
        return None
    for place in (skip, _root(skip, found)):
        if ancestors[branch] >> place & 1:
            return place
    projected = _projected(graph, skip)
    base = next((place for place in projected if ancestors[branch] >> place & 1), None)
    return None if base in _projected(graph, branch) else base


def _projected(graph: Graph, index: int) -> list[int]:
    """Return the signals that a node is a projection of: by one layer, with no activation."""
    node, layers = graph.nodes[index], 0
    behind: list[int] = []
    while node.parents and layers < 2:
        if layers:
            behind.append(node.index)
        layers += node.kind == "layer"
        if node.kind not in {"layer", "norm", "shape", "pad", "mean"}:
            break
        node = graph.nodes[node.parents[0]]
    return behind if layers else []


def _is_shortcut(
    graph: Graph, node: Node, skip: int, branch: int, base: int, ancestors: list[int]
) -> bool:
    """Tell whether a sum with a projection is one of a shortcut and its branch.

    It is none of two halves of one layer's output, of a mean and scaled noise, or of the terms of
    a gate or a score, which goes into a tanh or sigmoid; and a branch has more than one layer.
    """
    layers, _ = _before(graph, skip)
    ends, steps = _before(graph, branch)
    if any(ancestors[end] >> layer & 1 for end in ends for layer in layers):
        return False
    if any(step.op in {"exp", "exp2", "expm1"} or _is_noisy(step) for step in steps):
        return False
    inside = [
        one
        for one in graph.nodes[base + 1 : branch + 1]
        if ancestors[branch] >> one.index & 1 and ancestors[one.index] >> base & 1
    ]
    weighty = [one for one in inside if one.kind in {"layer", "recurrent"}]
    convolutional = all(
        "kernel" in one.geometry for one in (*weighty, *(graph.nodes[i] for i in layers))
    )
    if convolutional:
        return True
    readers = [one.op for one in graph.nodes if node.index in one.parents]
    gate = bool(readers) and set(readers) <= {"tanh", "sigmoid"}
    return not gate and (len(weighty) > 1 or any(one.kind == "recurrent" for one in weighty))


def _before(graph: Graph, index: int) -> tuple[set[int], list[Node]]:
    """Return the layers that a node was computed from without further ones, and what lies between.

    A normalisation lies between too.
    """
    layers: set[int] = set()
    between: list[Node] = []
    todo, seen = [index], set[int]()
    while todo:
        node = graph.nodes[todo.pop()]
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.kind in {"layer", "recurrent", "embedding", "attention"}:
            layers.add(node.index)
        else:
            between.append(node)
            todo.extend(node.parents)
    return layers, between


def _is_noisy(node: Node) -> bool:
    """Tell whether the node multiplies by numbers that were made on the way."""
    made = node.op == "mul" and node.replay is not None and Known("") in node.replay.args
    return made and node.factor is None  # a scale that was computed from a parameter is no noise


def is_norm(graph: Graph, node: Node) -> bool:
    """Tell whether a node normalises, as a module or by a formula of the model's author.

    The formula is a product or quotient of a signal with a statistic of that same signal.
    """
    if node.kind == "norm":
        return True
    if node.kind != "pointwise" or node.op not in {"mul", "div"} or len(node.parents) != 2:
        return False
    signal, other = node.parents
    for x, statistic in ((signal, other), (other, signal)):
        reduced = _statistic_of(graph, statistic)
        if reduced is not None and (reduced == x or reduced in _plain_chain(graph, x)):
            return True
    return False


def _plain_chain(graph: Graph, index: int) -> set[int]:
    """Return a node and what it came from by pointwise and shape operations of one signal."""
    chain = {index}
    node = graph.nodes[index]
    while node.kind in {"pointwise", "shape"} and node.parents:
        index = node.parents[0]
        chain.add(index)
        node = graph.nodes[index]
    return chain


def _statistic_of(graph: Graph, index: int) -> int | None:
    """Return the signal whose mean, through pointwise operations, a node is; None for any other."""
    node = graph.nodes[index]
    seen_mean = False
    while node.parents and (node.kind in {"pointwise", "shape"} or _is_reduction(node)):
        seen_mean |= _is_reduction(node)
        index = node.parents[0]
        node = graph.nodes[index]
        if seen_mean and not (node.kind in {"pointwise", "shape"} or _is_reduction(node)):
            break
        if seen_mean and not (node.kind == "pointwise" and node.op in {"pow", "mul", "square"}):
            return index
    return index if seen_mean else None


def _is_reduction(node: Node) -> bool:
    return node.kind in {"mean", "sum"} or node.op == "linalg_vector_norm"


def _terms(node: Node) -> tuple[int, int] | None:
    if node.kind != "pointwise" or node.op != "add" or node.replay is None:
        return None
    slots = [value.parent for value in node.replay.args[:2] if isinstance(value, Slot)]
    return (slots[0], slots[1]) if len(slots) == 2 else None


def _keeps_direction(node: Node) -> bool:
    """Tell whether the node passes one signal on: reshaped, cut, activated or scaled."""
    return node.kind in {"shape", "pad", "max"} or (
        node.kind == "pointwise" and len(node.parents) == 1
    )


def _root(index: int, found: dict[int, list[Addition]]) -> int:
    """Follow a sum back to the signal that its stream passes on: ``x`` of ``(x + f) + g``."""
    while index in found:
        index = found[index][0].skip
    return index


def _start(graph: Graph, skip: int, found: dict[int, list[Addition]]) -> int:
    """Return the node that the stream of this skip starts from."""
    index = skip
    while True:
        if index in found:
            return found[index][0].start
        node = graph.nodes[index]
        if not (_keeps_direction(node) and node.parents):
            return skip if index == skip else index
        index = node.parents[0]


def _pieces(
    graph: Graph, branch: int, base: int, ancestors: list[int]
) -> Iterator[tuple[int, tuple[int, ...], int | None]]:
    """Yield each branch that a sum adds: its output, its nodes and the node that sets its size."""
    terms = _terms(graph.nodes[branch])
    if (
        terms is not None
        and all(
            ancestors[term] >> base & 1 and _weights(graph, term, base, ancestors) for term in terms
        )
        and not any(ancestors[a] >> b & 1 for a, b in (terms, terms[::-1]))
    ):
        for term in terms:
            yield from _pieces(graph, term, base, ancestors)
        return
    inside = tuple(
        node.index
        for node in graph.nodes[base + 1 : branch + 1]
        if ancestors[branch] >> node.index & 1 and ancestors[node.index] >> base & 1
    )
    if any(graph.nodes[index].kind in {"layer", "recurrent"} for index in inside):
        yield branch, inside, _end(graph, branch, set(inside))


def _weights(graph: Graph, index: int, base: int, ancestors: list[int]) -> bool:
    return any(
        node.kind in {"layer", "recurrent"}
        and ancestors[index] >> node.index & 1
        and ancestors[node.index] >> base & 1
        for node in graph.nodes[base + 1 : index + 1]
    )


def _end(graph: Graph, branch: int, inside: set[int]) -> int | None:
    """Walk back from a branch's output to what sets its size."""
    index = branch
    while index in inside:
        node = graph.nodes[index]
        if node.kind == "layer" or (node.kind == "norm" and node.weight is not None):
            return index
        if node.kind == "pointwise" and node.op == "mul" and node.factor is not None:
            return index
        if not (_keeps_direction(node) or node.kind in {"mean", "norm"}) or not node.parents:
            return None
        index = node.parents[0]
    return None


def _numbered(graph: Graph, found: list[Addition]) -> Iterator[Addition]:
    """Yield the branches with their number in their stream, and look at their normalisations."""
    children = graph.children()
    counts: dict[int, int] = {}
    first: dict[int, int] = {}
    number = {stream: place for place, stream in enumerate(dict.fromkeys(a.stream for a in found))}
    for one in found:
        counts[one.stream] = counts.get(one.stream, 0) + 1
        first.setdefault(one.stream, one.skip)
    places: dict[int, int] = {}
    for one in found:
        place = places.get(one.stream, 0)
        places[one.stream] = place + 1
        readers = [graph.nodes[index] for index in children[one.node]]
        yield Addition(
            one.node,
            one.skip,
            one.branch,
            one.inside,
            one.end,
            number[one.stream],
            place,
            counts[one.stream],
            first[one.stream],
            normalised=any(is_norm(graph, graph.nodes[index]) for index in one.inside),
            post_norm=bool(readers) and all(is_norm(graph, node) for node in readers),
        )
