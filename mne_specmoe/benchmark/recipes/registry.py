"""All recipes by name."""

from collections.abc import Mapping

from mne_specmoe.benchmark.recipes import (
    bcic2020_3,
    bcic_iv_2a,
    bcic_iv_2a_moabb,
    chb_mit,
    da_pharmaco,
    eegmat_edf,
    hmc,
    seed_v,
    seed_vig,
    shu_mi,
    siena,
    sleep_edf,
    tuab,
    tuev,
)
from mne_specmoe.benchmark.recipes.recipe import Recipe

_ALL: tuple[Recipe, ...] = (
    *bcic2020_3.RECIPES,
    *bcic_iv_2a.RECIPES,
    *bcic_iv_2a_moabb.RECIPES,
    *chb_mit.RECIPES,
    *da_pharmaco.RECIPES,
    *eegmat_edf.RECIPES,
    *hmc.RECIPES,
    *seed_v.RECIPES,
    *seed_vig.RECIPES,
    *shu_mi.RECIPES,
    *siena.RECIPES,
    *sleep_edf.RECIPES,
    *tuab.RECIPES,
    *tuev.RECIPES,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""The tasks of the papers on data sets in their original layouts, under each protocol."""
