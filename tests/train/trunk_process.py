"""Train the trunk of a JSON file on all devices of all processes, as the environment says; a program for the tests."""

import json
import sys
from pathlib import Path

from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
from scaling.train.mesh import data_mesh, join_processes

request = json.loads(Path(sys.argv[1]).read_text())
join_processes()

specs = [RunSpec.model_validate(spec) for spec in request["specs"]]
records = train_trunk(specs, RunStore(request["root"]))
losses = [record.outcome.loss for record in records]
print(json.dumps({"leads": data_mesh().leads, "n_devices": data_mesh().n_devices, "losses": losses}))
