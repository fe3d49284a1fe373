# %% [markdown]
# # Fit small, predict large: how far can a forecast be trusted?
#
# The only honest test is to hide the largest runs, fit the rest, and look at what comes out. Of ten intervals at 90 %
# nine should hold.

# %%
import numpy as np

import scaling

grid = scaling.load_runs("../results/reference/grid.csv")
longer = scaling.backtest(grid, train="n_tokens < 9e5", bootstrap=0)
print(longer)

# %%
ax = longer.plot()

# %% [markdown]
# More text for sizes that were seen is foreseen well. Now a size that was not: of three widths the largest is hidden.

# %%
larger = scaling.backtest(grid, train="n_params < 4e5", bootstrap=0)
print(larger)
print(*larger.fit.status.reasons)

# %%
ax = larger.plot()

# %% [markdown]
# Two sizes cannot show how loss falls with size, and the fit says of itself that it must not be used. So it is with
# real speeches:

# %%
speeches = scaling.load_runs("../results/reference/speeches.csv")
told = scaling.backtest(speeches, train="n_params < 4e5", bootstrap=0)
print(told)
print("usable by its own account:", told.fit.success)

# %% [markdown]
# ## The band widens with the distance
#
# With all three sizes: beyond the runs (dashed) it is validation that says how fast the doubt grows.

# %%
fit = scaling.fit_law(grid, bootstrap=0, strict=False)
sizes = np.geomspace(3e4, 4e6, 40)
forecast = fit.predict(sizes, "1M", force=True)
ax = forecast.plot()

# %%
forecast.frame().iloc[[0, 20, 39]].round(3)

# %% [markdown]
# **Takeaway: what longer training brings is foreseen to within one per cent, with intervals that hold; a new size from
# two sizes is missed by more, 1.2 and 1.7 per cent, of intervals at 90 % 10 of 12 held in one world, and the fits say
# that they must not be used. Train three sizes or more, and let the largest be near the one that is asked about.**
#
# Caveat: these are the project's own small tables; the hidden sizes are 3.8 times larger than any seen. What a fit says
# at a hundred times its runs has not been tested here, and `predict` refuses it unless forced.
