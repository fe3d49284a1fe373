# %% [markdown]
# # What do 36 small runs say about the loss of any other?
#
# A sweep trained students of three sizes on four volumes of three texts, in a world whose entropy is known exactly.
# A *scaling law* makes of these runs a formula: loss as a function of parameters N, tokens D and the text's error δ.

# %%
import scaling

runs = scaling.load_runs("../results/reference/grid.csv")
runs.groupby(["teacher", "n_params"])["loss"].agg(["count", "min", "max"]).round(3)

# %% [markdown]
# ## A law, and how sure its numbers are
#
# `q1q2` has a floor E, a term of size, a term of data, and two effects of the text's error: it raises the floor (κ),
# and it makes tokens worth less (c). Every interval below is of 200 resamplings of whole trainings.

# %%
fit = scaling.fit_law(runs, law="q1q2", bootstrap=200)
fit

# %% [markdown]
# The world's entropy is 1.3704 nats/token. E was not told: its interval should hold that number.

# %%
low, high = fit.interval()["E"]
print(f"E = {fit.params['E']:.3f} [{low:.3f}, {high:.3f}], exactly {runs['entropy'].iloc[0]:.4f}")

# %%
ax = fit.plot(teacher="real")

# %% [markdown]
# ## What is left over
#
# If the law were right, residuals would lie in the band of one run's scatter, on both sides of zero, at every size.

# %%
ax = scaling.figures.residuals(fit)

# %%
ax = scaling.figures.predicted_and_actual(fit)

# %% [markdown]
# ## What the runs do not tell
#
# Two coefficients that trade against each other lie along a line: A against α here. Forecasts inside the runs do not
# mind; the coefficients by themselves mean little.

# %%
ax = scaling.figures.exponents(fit, names=("A", "alpha"))
ax.set_xscale("log")

# %%
laws = ["tied", "chinchilla", "skaling", "kaplan-nd"]
compared = scaling.compare_laws(runs, laws, where="teacher == 'real'", bootstrap=0)
compared.frame().drop(columns="reasons").round(4)

# %% [markdown]
# **Takeaway: 36 runs of a few minutes put the floor of this world .05 nats above its entropy, in an interval that holds
# it and is half a nat wide downwards, and forecast inside their range to within half a per cent; they do not fix A, B
# and the exponents one by one.**
#
# Caveat: three sizes are the fewest that show an exponent at all. Which of several forms is right cannot be told from
# twelve runs of one text; look at the error of forecasts, not at the rms alone.
