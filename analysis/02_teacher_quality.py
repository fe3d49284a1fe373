# %% [markdown]
# # How do a teacher's errors bound its students?
#
# A student that reads a teacher's text can at best become the teacher: its loss on real text tends to
# H(p) + KL(p‖q), the teacher's own. But does a wrong teacher merely set a floor, or does it also slow learning down?

# %%
import pandas as pd

import scaling

runs = scaling.load_runs("../results/reference/grid.csv")
fit = scaling.fit_law(runs, law="q1q2", bootstrap=200)
ax = scaling.figures.loss_by_teacher(fit)

# %% [markdown]
# In this world the teacher's loss is known exactly, so the law's floor can be held against it.

# %%
exact = runs.groupby("teacher")["teacher_loss"].first()
floors = {text: fit.floor(teacher=None if text == "real" else text).value for text in exact.index}
pd.DataFrame({"teacher's loss": exact, "floor of the law": floors}).round(3)

# %% [markdown]
# Pairs of runs that differ in the text alone say by how much, with no law in between.

# %%
scaling.compare(runs, ("noise 0.4", "noise 0.2"))

# %% [markdown]
# ## Mixtures: how much real text is needed?
#
# The same noisy teacher, with a share of real text in what is read.

# %%
mixed = scaling.load_runs("../results/reference/mixture.csv")
mixed.pivot_table(index="real_share", columns="n_params", values="loss").round(3)

# %% [markdown]
# ## Speeches: a ladder of teachers
#
# n-gram models of rising order and small trained networks, and one student of width 64. `over_real` is what the
# student loses against one that read as much real text.

# %%
ladder = pd.read_csv("../results/reference/teacher_ladder.csv")
most = ladder[ladder["n_tokens"] == ladder["n_tokens"].max()]
most[["kind", "size", "teacher_loss", "loss", "gap", "over_real", "over_real_sd"]].round(3)

# %%
ax = most[most["kind"] == "ngram"].plot("teacher_loss", "loss", style="o-", label="student of n-grams")
most[most["kind"] == "trained"].plot("teacher_loss", "loss", style="s--", ax=ax, label="student of networks")
_ = ax.set(xlabel="loss of the teacher, nats/token", ylabel="loss of the student, nats/token")

# %% [markdown]
# **Takeaway: a teacher's error adds itself to the student's floor almost one to one (κ ≈ 1), and a better teacher helps
# until the student's own size and data bind: on speeches, n-grams of orders 4 to 6 serve a student of width 64 alike.**
#
# Caveat: the noise of this world is spread over all tokens; a teacher that never learned a part of the language
# (coverage) may cost more than its loss says. All students here have less than half a million parameters.
