"""Train the trunk of a JSON file on all devices of all processes, as the environment says; a program for the tests."""

import json
import sys
from pathlib import Path

from scaling.data.batches import Stream
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
from scaling.train.mesh import data_mesh, join_processes

request = json.loads(Path(sys.argv[1]).read_text())
join_processes()

rows = set()
batches = Stream.batches


def noted(stream, start, count):
    """The batches, and how many rows of them this process has read."""
    read = batches(stream, start, count)
    rows.add(read.inputs.shape[1])
    return read


Stream.batches = noted
specs = [RunSpec.model_validate(spec) for spec in request["specs"]]
records = train_trunk(specs, RunStore(request["root"]))
mesh, losses = data_mesh(), [record.outcome.loss for record in records]
print(json.dumps({"leads": mesh.leads, "n_devices": mesh.n_devices, "rows": list(rows), "losses": losses}))
