"""The link of scikit-learn's HTML representation leads to our page of an estimator, where there is a public one."""

import importlib.metadata
from email.message import Message

import pytest
from sklearn.utils import estimator_html_repr

from mne_specmoe import BrainRVQFeaturizer, SpecMoEClassifier


@pytest.fixture
def installed_with(monkeypatch):
    """A function that sets the addresses in the metadata of the installed package."""

    def install(*urls: str) -> None:
        metadata = Message()
        for url in urls:
            metadata["Project-URL"] = url
        monkeypatch.setattr(importlib.metadata, "metadata", lambda name: metadata)

    return install


@pytest.mark.parametrize("estimator", [SpecMoEClassifier, BrainRVQFeaturizer])
def test_html_links_to_the_estimators_page(installed_with, estimator):
    installed_with("Source, https://example.org/code", "Documentation, https://example.org/docs/")
    page = f"https://example.org/docs/api/generated/mne_specmoe.{estimator.__name__}.html"
    assert estimator()._get_doc_link() == page
    assert page in estimator_html_repr(estimator())


@pytest.mark.parametrize("urls", [(), ("Source, https://example.org/code",)])
def test_there_is_no_link_where_the_documentation_is_not_published(installed_with, urls):
    installed_with(*urls)
    assert SpecMoEClassifier()._get_doc_link() == ""
    assert "sk-estimator-doc-link" in estimator_html_repr(SpecMoEClassifier())
    assert "example.org" not in estimator_html_repr(SpecMoEClassifier())


def test_there_is_no_link_in_a_checkout_that_was_never_installed(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    assert SpecMoEClassifier()._get_doc_link() == ""


def test_classes_of_users_that_derive_from_ours_have_no_page_here(installed_with):
    class Mine(SpecMoEClassifier):
        pass

    installed_with("Documentation, https://example.org/docs")
    assert Mine()._get_doc_link() == ""
