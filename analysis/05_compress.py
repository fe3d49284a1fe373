# %% [markdown]
# # How few bits can a weight have?
#
# A phone's limit is bytes, not parameters. Fewer bits a weight make room for more weights, and cost some loss: which
# is worth more?

# %%
import pandas as pd

import scaling

table = pd.read_csv("../results/reference/damage.csv")
real = table[table["teacher"] == "real"]
real.pivot_table(index="n_params", columns="bits", values="damage").round(5)

# %% [markdown]
# ## A law of the damage
#
# Three published or plain forms; `ahead` is the error (in ln) on the largest size, foreseen from the smaller ones.

# %%
forms = scaling.fit_damage(real)
forms.frame()[["law", "error", "ahead", "rows"]].round(3)

# %%
ax = scaling.figures.damage(real, law=forms[-1].fit.law)

# %% [markdown]
# ## Bits for parameters
#
# Bytes of the matrices at 8 and 4 bits, and the loss of each student with its damage, at the largest volume.

# %%
most = real[(real["n_tokens"] == real["n_tokens"].max()) & real["bits"].isin([3, 4, 5, 8])]
most = most.assign(kilobytes=most["n_params_linear"] * most["bits"] / 8e3, stored=most["loss"] + most["damage"])
most.sort_values("kilobytes")[["n_params", "bits", "kilobytes", "loss", "stored"]].round(4)

# %% [markdown]
# ## Pruned, or born small?

# %%
pruned = pd.read_csv("../results/reference/pruning.csv")
pruned[["student", "pruned", "healing_tokens", "n_params", "loss", "born_equal_compute"]].round(3).head(12)

# %%
parts = pruned[pruned["pruned"].str.contains("heads|neurons|layers|magnitude")]
ax = parts[parts["healing_tokens"] > 0].plot.scatter("born_equal_compute", "loss")
ax.axline((1.55, 1.55), slope=1, color="0.5")
_ = ax.set(xlabel="born small, of equal compute: loss, nats/token", ylabel="pruned and healed: loss, nats/token")

# %% [markdown]
# **Takeaway: for its bytes, a larger student at 4 or 5 bits beats a smaller one at 8: 107k parameters at 5 bits lose
# 0.0015 nats/token and weigh five eighths. The smaller a student, the more a bit is worth; 8 bits cannot be told from
# none. Pruned and healed students lie above those born small for the same compute.**
#
# Caveat: the largest student here has 0.4 million parameters; larger ones feel rounding less. Bytes are those of the
# matrices alone, without scales, embeddings and the engine.
