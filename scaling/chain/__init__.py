"""The stages of `scaling run`, each reading what the stage before wrote under results/<sweep>/.

expand → plan → train → collect → fit → forecast → recommend → train the recommended student → int8 → export →
run the exported file in a phone engine → one ledger row, forecast beside measured.
"""
