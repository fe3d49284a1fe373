"""Child process that runs one GGUF file in llama.cpp (package xllamacpp): a job as JSON on stdin, the answer on stdout.

The ids of all tokens, and probabilities of tokens, are told by the engine's own server alone, so that is what is asked.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import begin, give_back_free_pages, memory, said


def main() -> None:
    job, answer = begin()
    import xllamacpp

    give_back_free_pages()
    before = memory(job["path"])
    started = time.perf_counter()
    server = xllamacpp.Server(parameters(xllamacpp, job))
    loaded_s = time.perf_counter() - started
    # The engine's own HTTP endpoint, on the loopback: unlike the Python call it returns the ids of all tokens.
    client = http.client.HTTPConnection(server.listening_address.removeprefix("http://"))
    held = [memory(job["path"])]
    result = {
        "load_s": loaded_s,
        "load_average": os.getloadavg()[0],
        **generate(client, job),
        "speed": [time_once(client, job) for _ in range(job["repeats"])],
        "before": before,
        "held": [*held, memory(job["path"])],
        "tokenized": [tokenize(client, text) for text in job["texts"]],
    }
    if job["scored"]:
        (score if job["scores"] else score_tokens)(client, job)
    json.dump(result, answer)
    answer.close()


def parameters(xllamacpp, job):
    """CPU only, one sequence, the file mapped, a small compute buffer, nothing cached beside the model."""
    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.n_ctx = job["cache"]
    params.n_batch = params.n_ubatch = job["n_ubatch"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    modes = xllamacpp.llama_load_mode
    params.load_mode = modes.LLAMA_LOAD_MODE_MMAP if job["use_mmap"] else modes.LLAMA_LOAD_MODE_NONE
    types = xllamacpp.ggml_type
    kept = {"f16": types.GGML_TYPE_F16, "f32": types.GGML_TYPE_F32}[job["cache_type"]]
    params.cache_type_k = params.cache_type_v = kept
    flash = xllamacpp.llama_flash_attn_type
    params.flash_attn_type = {
        None: flash.LLAMA_FLASH_ATTN_TYPE_AUTO,
        False: flash.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        True: flash.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    }[job["flash_attention"]]
    # Extra buffer types repack weights; on virtual machines that advertise AMX the repacked kernels crash.
    params.no_extra_bufts = True
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.fit_params = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    params.verbosity = 1  # errors only
    return params


def generate(client, job) -> dict:
    """Greedy continuation of the prompt, up to the end-of-document token."""
    reply = complete(client, job["prompt"], job["n_tokens"])
    return {"token_ids": reply["tokens"], "text": reply["content"], "ended": reply["stop_type"] == "eos"}


def time_once(client, job) -> dict:
    """Rates of reading a prompt that is not in the cache, and of writing after it."""
    n_tokens, options = job["speed_tokens"], {"cache_prompt": False, "ignore_eos": True}
    began = time.process_time()
    complete(client, job["speed_prompt"], 1, **options)
    one = time.process_time()
    timings = complete(client, job["speed_prompt"], n_tokens, **options)["timings"]
    # Asking, reading the prompt and one token are in both: what is left is the processor's time for the others.
    busy = time.process_time() - one - (one - began)
    rate = (n_tokens - 1) / busy if busy > 0 and n_tokens > 1 else timings["predicted_per_second"]
    return {"prompt": timings["prompt_per_second"], "decode": timings["predicted_per_second"], "busy": rate}


def score(client, job) -> None:
    """Log-probabilities float32[n, T, V] after each token of ``scored``: int32[n, T], one step a position."""
    import numpy as np

    # The engine keeps back the probabilities of a token that is half a character. A bias makes it write the end of
    # document instead; the log-probabilities that it tells are those before the bias.
    options = {"n_probs": job["vocab_size"], "logit_bias": [[job["eos_id"], 1000.0]]}
    sequences = np.load(job["scored"])
    out = np.full((*sequences.shape, job["vocab_size"]), -np.inf, np.float32)
    for sequence, rows in zip(sequences.tolist(), out, strict=True):
        for position, row in enumerate(rows):
            reply = complete(client, sequence[: position + 1], 1, **options)
            told = reply["completion_probabilities"][0]["top_logprobs"]
            row[[token["id"] for token in told]] = [token["logprob"] for token in told]
            # The engine adds up its probabilities in float32: they come to 1 but for that rounding.
            row -= np.log(np.exp(row, dtype=np.float64).sum())
    np.save(job["scores"], out)


def score_tokens(client, job) -> None:
    """Log-probability float32[n, T − 1] of every token of ``scored`` but the first, and the token likeliest there."""
    import numpy as np

    sequences = np.load(job["scored"])
    shape = (len(sequences), sequences.shape[1] - 1)
    log_probs, likeliest = np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int32)
    for i, sequence in enumerate(sequences.tolist()):
        for t in range(shape[1]):
            # A bias makes the engine write the token that is there; what it tells of it is from before the bias.
            options = {"n_probs": 1, "logit_bias": [[sequence[t + 1], 1000.0]]}
            told = complete(client, sequence[: t + 1], 1, **options).get("completion_probabilities")
            if told and told[0]["id"] == sequence[t + 1]:
                log_probs[i, t], likeliest[i, t] = told[0]["logprob"], told[0]["top_logprobs"][0]["id"]
    np.savez(job["token_scores"], log_probs=log_probs, likeliest=likeliest)


def tokenize(client, text) -> list[int]:
    """Ids of a text as the engine cuts it; the spelling of a control token in it is plain text."""
    return post(client, "/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]


def complete(client, prompt, n_tokens, **options) -> dict:
    """One greedy completion of a prompt of token ids."""
    request = {"prompt": prompt, "n_predict": n_tokens, "temperature": 0.0, "return_tokens": True, **options}
    return post(client, "/completion", request)


def post(client, path, request) -> dict:
    """One answer of the engine."""
    client.request("POST", path, json.dumps(request), {"Content-Type": "application/json"})
    reply = json.load(client.getresponse())
    if "tokens" not in reply:
        raise RuntimeError(json.dumps(reply))
    return reply


if __name__ == "__main__":
    said(main)
