"""Child process that packs one .litertlm file and lets LiteRT-LM write with it: a job as JSON on stdin, the answer on
stdout."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import begin, said


def main() -> None:
    job, answer = begin()
    pack(job)
    json.dump(use(job), answer)
    answer.close()


def pack(job) -> None:
    """Metadata, tokenizer and programs in one file."""
    from litert_lm_builder import litertlm_builder as builder
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    told = llm_metadata_pb2.LlmMetadata()
    told.llm_model_type.generic_model.SetInParent()
    told.max_num_tokens = job["context"]
    told.start_token.token_ids.ids.append(job["bos_id"])
    told.stop_tokens.add().token_ids.ids.append(job["eos_id"])
    with open(job["metadata"], "wb") as file:
        file.write(told.SerializeToString())
    one = builder.LitertLmFileBuilder()
    for key, value in job["about"].items():
        one.add_system_metadata(builder.Metadata(key=key, value=value, dtype=builder.DType.STRING))
    one.add_llm_metadata(job["metadata"])
    one.add_hf_tokenizer(job["tokenizer"])
    one.add_tflite_model(job["tflite"], builder.TfLiteModelType.PREFILL_DECODE)
    with open(job["path"], "wb") as file:
        one.build(file)


def use(job) -> dict:
    """How the engine cuts texts, and what it writes behind a prompt until its cache is full."""
    import litert_lm

    with litert_lm.Engine(
        job["path"], backend=litert_lm.Backend.CPU(), max_num_tokens=job["context"], cache_dir=job["cache_dir"]
    ) as engine:
        tokenized = [engine.tokenize(text) for text in job["texts"]]
        with engine.create_session(sampler_config=litert_lm.SamplerConfig(top_k=1)) as session:
            session.run_prefill([job["prompt"]])
            text = session.run_decode().texts[0]
    return {"tokenized": tokenized, "text": text}


if __name__ == "__main__":
    said(main)
