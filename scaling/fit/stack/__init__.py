"""Several laws as one forecast, weighted and calibrated by forecasts of larger runs from smaller ones.

No form of scaling law wins everywhere, no prior and no choice of runs does, and no resampling of small runs shows how
wrong a law is about large ones. So every form is fitted in several versions, the runs are ordered by size, each version
forecasts the larger from the smaller, and those errors set the width of the intervals, and the weights too, where the
members are many: the few of a teacher form weigh all alike.
"""
