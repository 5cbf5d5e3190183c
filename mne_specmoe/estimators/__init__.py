"""Scikit-learn estimators of every family."""
