"""What students learn of a teacher made of rules: python analysis/rules.py [RESULTS]

The grade of each teacher, as loss above that of real text at equal volume, and minimal pairs by what keeps them from
the sentences that were taught: the share in which the right one is found likelier. Chance is ½, shuffled words the
control.
"""

from __future__ import annotations

import sys

from published import over_real, published_runs

KINDS = ("taught", "word", "template", "template_and_word")
PHENOMENA = ("agreement", "pronoun", "size", "age", "negation", "always_never")
PAIRS = [f"pairs_{name}{end}" for name in ("all", *KINDS, *PHENOMENA) for end in ("", "_se", "_control")]


def main(results: str = "results") -> None:
    runs = published_runs("rules", results, columns=("ood_loss", "ood_loss_se", *PAIRS))
    runs["over_real"] = over_real(runs, ["width", "n_tokens"])
    cells = runs.set_index(["teacher", "n_tokens"]).sort_index()
    print(cells[["loss", "loss_se", "over_real", "loss_teacher", "ood_loss"]].round(4).to_string())
    for teacher, cost in runs.groupby("teacher", sort=False)["over_real"].mean().items():
        print(f"{teacher}: {cost:+.4f} of real text, mean over volumes")
    most = runs[runs["n_tokens"] == runs["n_tokens"].max()].set_index("teacher")
    for title, names in (("by what is held out", ("all", *KINDS)), ("by phenomenon", PHENOMENA)):
        print(f"\nright of minimal pairs after {most['n_tokens'].iloc[0]:,} tokens, {title}; chance .5")
        for name in names:
            shares = (most[f"pairs_{name}"], most[f"pairs_{name}_se"], most[f"pairs_{name}_control"])
            most[name] = [f"{right:.3f} ± {se:.3f} ({control:.3f})" for right, se, control in zip(*shares, strict=True)]
        print(most[list(names)].to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
