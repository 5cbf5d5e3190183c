"""All recipes by name."""

from collections.abc import Mapping

from mne_specmoe.benchmark.recipes import bcic2020_3, da_pharmaco, hmc, seed_v, seed_vig, siena, tuab
from mne_specmoe.benchmark.recipes.recipe import Recipe

_ALL: tuple[Recipe, ...] = (
    *bcic2020_3.RECIPES,
    *da_pharmaco.RECIPES,
    *hmc.RECIPES,
    *seed_v.RECIPES,
    *seed_vig.RECIPES,
    *siena.RECIPES,
    *tuab.RECIPES,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""The tasks of the papers on data sets in their original layouts, under each protocol."""
