"""Tables of llama-bench in each of its formats are the same rates; what is no such table says so."""

from __future__ import annotations

import json

import pytest

from scaling.errors import RecordError
from scaling.predict.phones.bench import measured_rates, read_bench
from scaling.predict.phones.calibrate import calibrate
from scaling.predict.phones.devices import device

MARKDOWN = """
some lines of a log
| model            |       size |   params | backend | threads |          test |          t/s |
| ---------------- | ---------: | -------: | ------- | ------: | ------------: | -----------: |
| llama 1B Q8_0    |   1.22 GiB |   1.24 B | CPU     |       2 |         pp512 | 60.00 ± 0.10 |
| llama 1B Q8_0    |   1.22 GiB |   1.24 B | CPU     |       2 |         tg128 | 12.50 ± 0.02 |
| llama 1B Q8_0    |   1.22 GiB |   1.24 B | CPU     |       4 |         tg128 | 20.00 ± 0.05 |
| llama 1B Q8_0    |   1.22 GiB |   1.24 B | CPU     |       8 |         tg128 |  0.26 ± 0.01 |
| llama ?B Q8_0    | 138.10 MiB | 134.52 M | CPU     |       4 | tg128 @ d512 | 90.00 ± 0.05 |
| llama ?B Q8_0    | 138.10 MiB | 134.52 M | CPU     |       4 | pp512+tg128   | 99.00 ± 0.05 |

build: 4b385bfcf (8018)
"""


def record(model: str, size: float, params: float, threads: int, prompt: int, generated: int, per_s: float) -> dict:
    return {
        "model_type": model,
        "model_size": int(size),
        "model_n_params": int(params),
        "n_threads": threads,
        "n_prompt": prompt,
        "n_gen": generated,
        "avg_ts": per_s,
    }


ONE_B, SMALL = ("llama 1B Q8_0", 1.22 * 2**30, 1.24e9), ("llama ?B Q8_0", 138.1 * 2**20, 134.52e6)
RECORDS = [
    record(*ONE_B, 2, 512, 0, 60.0),
    record(*ONE_B, 2, 0, 128, 12.5),
    record(*ONE_B, 4, 0, 128, 20.0),
    record(*ONE_B, 8, 0, 128, 0.26),
    record(*SMALL, 4, 0, 128, 90.0),
    record(*SMALL, 4, 512, 128, 99.0),
]


def as_csv() -> str:
    rows = [",".join(RECORDS[0]), *(",".join(f'"{value}"' for value in one.values()) for one in RECORDS)]
    return "\n".join(rows) + "\n"


TABLES = {
    "bench.md": MARKDOWN,
    "bench.csv": as_csv(),
    "bench.json": json.dumps(RECORDS),
    "bench.jsonl": "\n".join(map(json.dumps, RECORDS)),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_format_of_llama_bench_is_read_alike(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name])
    rates, layers = measured_rates(read_bench(tmp_path / name), {"llama ?B Q8_0": 30})
    told = [(one.model, one.threads, one.tokens_per_s, one.n_layers) for one in rates]
    assert told == [
        ("llama 1B Q8_0", 2, 12.5, layers["llama 1B Q8_0"]),
        ("llama 1B Q8_0", 4, 20.0, layers["llama 1B Q8_0"]),
        ("llama 1B Q8_0", 8, 0.26, layers["llama 1B Q8_0"]),
        ("llama ?B Q8_0", 4, 90.0, 30),
    ]
    assert rates[0].n_bytes == pytest.approx(1.22 * 2**30, rel=1e-6)
    assert rates[0].prompt_flops_per_s == pytest.approx(2 * 1.24e9 * 60)
    assert rates[1].prompt_flops_per_s is None
    assert 14 <= layers["llama 1B Q8_0"] <= 20


def test_a_phone_that_stalls_beyond_its_fast_cores_is_calibrated_on_the_fast_ones(tmp_path):
    (tmp_path / "bench.md").write_text(MARKDOWN)
    rates, _ = measured_rates(read_bench(tmp_path / "bench.md"), {"llama ?B Q8_0": 30, "llama 1B Q8_0": 16})
    found = calibrate(device("mid-8gb"), rates)
    assert found.threads == 4
    assert [one.tokens_per_s for one in found.collapsed] == [0.26]
    speed = found.device.speeds[0]
    assert [round(1 / speed.seconds(16, 1.22 * 2**30).value), round(1 / speed.seconds(30, 138.1 * 2**20).value)] == (
        pytest.approx([20, 90], rel=0.25)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no row says how fast a model writes"),
        ("a,b\n1,2\n", "not a table of llama-bench"),
        ("[1, 2]", "not a table of llama-bench"),
        ("[", "not a table of llama-bench"),
        (MARKDOWN.replace("t/s", "t/m"), "not a table of llama-bench"),
        (MARKDOWN.replace("GiB", "parsecs"), "not a table of llama-bench"),
        ("\n".join(line for line in MARKDOWN.splitlines() if "tg128" not in line), "no row says"),
    ],
    ids=["empty", "another table", "no records", "torn", "another unit", "another unit of size", "prompts only"],
)
def test_what_is_no_table_of_llama_bench_says_so(tmp_path, text, said):
    (tmp_path / "bench.txt").write_text(text)
    with pytest.raises(RecordError, match=said):
        read_bench(tmp_path / "bench.txt")
    with pytest.raises(RecordError, match="no such file"):
        read_bench(tmp_path / "nowhere.md")
