"""All recipes by name."""

from collections.abc import Mapping

from mne_specmoe.benchmark.recipes import bcic_iv_2a, bcic_iv_2a_moabb, chb_mit, eegmat_edf, shu_mi, sleep_edf, tuev
from mne_specmoe.benchmark.recipes.recipe import Recipe

_ALL: tuple[Recipe, ...] = (
    *eegmat_edf.RECIPES,
    *shu_mi.RECIPES,
    *bcic_iv_2a.RECIPES,
    *bcic_iv_2a_moabb.RECIPES,
    *sleep_edf.RECIPES,
    *chb_mit.RECIPES,
    *tuev.RECIPES,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""The tasks of the papers on data sets in their original layouts, under each protocol."""
