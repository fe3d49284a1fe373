"""The explorer: one HTML file that answers for any size what the fit answers, without a network or a server."""

from scaling.report.page.assemble import page_of_law, page_of_sweep

__all__ = ["page_of_law", "page_of_sweep"]
