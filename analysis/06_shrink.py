# %% [markdown]
# # Is it worth looking into the teacher?
#
# A student may read what its teacher wrote, look into the teacher's network at every token, or have the teacher correct
# what it writes itself (`on_policy`). Which gives the lower loss, for as much text and for as much computing?

# %%
import pandas as pd

import scaling

runs = pd.read_csv("../results/reference/distill.csv").query("teacher != 'real' and width == 32")
runs["flops_all"] = runs["flops"] + runs["teacher_flops"]
means = runs.groupby(["recipe", "n_tokens"])[["loss", "kl_student", "flops_all"]].mean()
means.unstack("recipe")["loss"].round(3)

# %% [markdown]
# ## As much text
#
# Seeds are paired: the same weights to begin with, and the same text. P is the chance that the recipe is the better.

# %%
arms = ["soft", "minilm", "tinybert", "on_policy"]
found = [scaling.compare(runs, ("sequence", arm), by="recipe", pair=["seed", "n_tokens"]) for arm in arms]
for comparison in found:
    print(comparison, end="\n\n")

# %% [markdown]
# ## As much computing
#
# The teacher's pass counts: one a token to write the text, and one more where a recipe looks into it.

# %%
ax = None
for recipe, rows in means.groupby("recipe"):
    ax = rows.plot("flops_all", "loss", marker="o", label=recipe, logx=True, ax=ax)
_ = ax.set(xlabel="FLOPs of student and teacher", ylabel="loss, nats/token")

# %% [markdown]
# **Takeaway: the whole distribution of the next token is worth about three times as much text, and still wins for the
# same computing, by .03 to .09 nats/token. What lies below the logits (MiniLM's relations, TinyBERT's states and
# scores) adds nothing to it here, and a student that has not come to the distribution yet is far behind. Corrections of
# its own text are worth half of that, and for the same computing no more than reading; they aim at something else.**
#
# Caveat: one student of 35k parameters, one teacher twice as wide and deep, in a made language; the text of a teacher
# that writes once for many students costs each of them less than is counted here.
