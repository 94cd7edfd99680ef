"""GraphOptions: the flags that describe a frozen graph.

What neither the file nor a flag says is assumed and printed, or asked for, all in one line.
"""

from typing import NamedTuple, Optional, Sequence

from permafrost.errors import UsageError, printable


class GraphOptions(NamedTuple):
    """The flags of these names; None where a flag is not given."""
    node: Optional[str] = None
    output: Optional[str] = None
    feed: Sequence[str] = ()
    image_size: Optional[int] = None
    crop_size: Optional[int] = None
    input_width: Optional[int] = None
    input_height: Optional[int] = None
    standardize: Optional[str] = None
    input_mean: Optional[str] = None
    input_std: Optional[str] = None
    output_kind: Optional[str] = None
    labels: Optional[str] = None


NO_OPTIONS = GraphOptions()


def raise_if_missing(path: str, node: str, missing: Sequence[str]) -> None:
    """Raise UsageError if flags are missing for the graph at `path`.

    `node` is the one that is fed, '' if that is missing too.
    """
    if missing:
        place = f" (input '{printable(node)[:100]}')" if node else ''
        raise UsageError(f'{path}{place} leaves some settings open: add ' + ' '.join(missing))
