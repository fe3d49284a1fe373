"""Single batches of a stream, which training reads many of at a time."""

from scaling.data.batches import Batch, Stream


def batch_of(stream: Stream, step: int) -> Batch:
    """The batch of one step: [B, T] each."""
    one = stream.batches(step, 1)
    return Batch(one.inputs[0], one.targets[0])
