# %% [markdown]
# # Is a student of BERT's size, fed with text of PaLM, as good as GPT-3?
#
# No sweep is needed for a first answer: published laws give the loss of a size on unlimited text, and bounds for what a
# teacher's error adds.

# %%
import pandas as pd

import scaling

laws = ["hoffmann", "besiroglu"]
models = ["bert-base", "bert-large", "gpt-3"]
found = scaling.compare_models(laws, models, teacher="palm", n_tokens=float("inf"), as_good_as="gpt-3")
found.frame()[["law", "label", "low", "high", "binds", "verdict"]].round(3)

# %%
pd.Series({row.law: row.verdict.loss for row in found.rows}, name="GPT-3 itself, nats/token").round(3)

# %% [markdown]
# And the other way round: what size reaches a loss, if text is no limit?

# %%
scaling.invert("besiroglu", [2.6, 2.4, 2.2]).frame()[["loss", "what", "n_params", "n_tokens", "flops"]]

# %% [markdown]
# ## Does it fit a phone?
#
# A phone's memory is the hard limit: int8 weights, the cache of the context, and the engine itself.

# %%
answer = scaling.recommend("besiroglu", target_loss=2.9, device="mid-8gb")
ax = answer.plot(phones=("budget-4gb", "flagship-12gb"))

# %%
ax = answer.footprint.plot()

# %% [markdown]
# ## The same question to a sweep of one's own
#
# Measured students of a noisy teacher, and the smallest one that reaches 1.72 nats/token with P ≥ 0.9.

# %%
runs = scaling.load_runs("../results/reference/grid.csv")
fit = scaling.fit_law(runs, law="q1q2", bootstrap=200)
own = scaling.recommend(fit, sweep="../sweeps/grid.yaml", memory_bytes="64MiB")
own

# %%
ax = own.plot()

# %% [markdown]
# How good such forecasts were is written down, each time: the ledger.

# %%
ledger = pd.read_csv("../results/reference/ledger.csv")
ax = scaling.figures.ledger(ledger)

# %% [markdown]
# **Takeaway: no. By either law a student of BERT's size stays 0.5 to 0.7 nats/token above GPT-3, on unlimited text of
# PaLM: its own capacity binds, not the teacher. What a phone holds is decided by bytes; with measured runs the smallest
# student that meets a target is a line of the table above, with the probability that it does.**
#
# Caveat: published laws hold for their own tokenizer and text, and say nothing of their doubt; N beyond what they were
# fitted to is extrapolated. A loss is not a task: models of equal loss may differ in what they can do.
