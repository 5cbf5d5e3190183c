"""The command line: pretrain, assemble, convert, info and features, as somebody types them."""

import inspect
import json
import subprocess
import sys

import mne
import numpy as np
import pytest
import torch
from brainrvq_files import fine_tuned_shapes, golden_tensors, write
from golden_data import published_state
from kill_and_resume import make_corpus

from mne_specmoe import BrainRVQ, BrainRVQFeaturizer, SpecMoEFeaturizer, __version__, load_brainrvq, save_brainrvq
from mne_specmoe.cli import main
from mne_specmoe.data.build import ArrayRecording, build_corpus
from mne_specmoe.data.synthetic import make_eeg, make_epochs
from mne_specmoe.loaders.specmoe import load_encoders, load_expert, save_expert
from mne_specmoe.models.specmoe.masking import MaskConfig
from mne_specmoe.models.specmoe.network import SpecHiNet
from mne_specmoe.pretraining import specmoe

SHORT = ["--batch-size", "2", "--accumulation", "1", "--device", "cpu", "--no-progress", "--validation", "S3"]
TINY_TOKENIZER = ["--n-codes", "16", "--depth", "1", "--decoder-depth", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return str(make_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))


@pytest.fixture
def weights(tmp_path) -> list[str]:
    """Two experts' files."""
    paths = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            paths.append(str(save_expert(SpecHiNet(), tmp_path / f"expert{seed}.safetensors")))
    return paths


def error(capsys) -> str:
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mne-specmoe: error: ")
    return line


@pytest.fixture(scope="module")
def tokenizer(corpus, tmp_path_factory) -> str:
    """A tokenizer's file."""
    run = tmp_path_factory.mktemp("tokenizer") / "run"
    command = ["pretrain", corpus, "--out", str(run), "--model", "brainrvq-tokenizer", *TINY_TOKENIZER]
    assert main([*command, "--max-steps", "1", *SHORT]) == 0
    return str(run / "tokenizer.safetensors")


def test_three_commands_lead_from_a_corpus_to_weights(tmp_path, corpus, capsys):
    runs = [str(tmp_path / f"run{part}") for part in (1, 2)]
    for part, run in enumerate(runs, 1):
        options = ["--subset", f"{part}/2", "--max-steps", "2", "--seed", str(part)]
        assert main(["pretrain", corpus, "--out", run, *options, *SHORT]) == 0
    out = str(tmp_path / "specmoe.safetensors")
    assert main(["assemble", *runs, "--out", out, "--precision", "float16", "--licence", "CC0"]) == 0
    assert len(load_encoders(out)) == 2
    capsys.readouterr()
    assert main(["info", out]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["licence"] == "CC0"
    assert [expert["data"]["subset"] for expert in described["training"]["experts"]] == ["1/2", "2/2"]


def test_every_setting_has_a_flag_with_the_default_of_the_paper(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag in ("--subset", "--layout", "--checkpoint-every", "--resume", "--mask-scope", "--n-workers", "--device"):
        assert flag in text
    assert "segments per batch, on all processes together (default: 64)" in text.replace("Segments", "segments")
    assert "(default: 0.6,0.3,0.1)" in text


def test_settings_reach_the_run(tmp_path, corpus):
    flags = ["--max-steps", "1", "--lr", "0.01", "--mask-ratio", "0.3", "--mask-type-probabilities", "0,1,0"]
    flags += ["--mask-scope", "local", "--mask-group-size", "2", "--dropout", "0.1", "--precision", "bf16"]
    assert main(["pretrain", corpus, "--out", str(tmp_path / "run"), *flags, *SHORT]) == 0
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["training"]["lr"] == 0.01
    assert settings["training"]["precision"] == "bf16"
    assert settings["mask"]["type_probabilities"] == [0.0, 1.0, 0.0]
    assert settings["mask"]["scope"] == "local"
    assert settings["model"]["dropout"] == 0.1
    assert settings["data"]["validation_subjects"] == ["S3"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--subset", "4/3"], "subsets 1 to 3"),
        (["--layout", "published"], "19 channels"),
        (["--validation", "nobody"], "'nobody'"),
        (["--lr", "-1"], "lr must be > 0"),
        (["--mask-ratio", "2"], "ratio"),
        (["--batch-size", "0"], "batch_size"),
        (["--max-share", "0.01"], "max_share=0.01 needs segments of 100 montages"),
        (["--n-epochs", "1"], "not both"),
    ],
)
def test_a_wrong_setting_is_one_line_and_leaves_nothing(tmp_path, corpus, capsys, flags, message):
    run = tmp_path / "run"
    command = ["pretrain", corpus, "--out", str(run), "--max-steps", "1", "--device", "cpu", "--no-progress", *flags]
    assert main(command) == 1
    assert message in error(capsys)
    assert not run.exists()


def test_two_commands_lead_from_a_corpus_to_brainrvq(tmp_path, corpus, tokenizer, capsys):
    run = tmp_path / "run"
    command = ["pretrain", corpus, "--out", str(run), "--model", "brainrvq", "--tokenizer", tokenizer, "--depth", "1"]
    assert main([*command, "--max-steps", "1", *SHORT]) == 0
    assert capsys.readouterr().out.strip() == str(run / "brainrvq.safetensors")
    assert main(["info", str(run / "brainrvq.safetensors")]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["architecture"] == "brainrvq"
    assert described["config"]["n_codes"] == 16
    assert described["training"]["tokenizer"]["sha256"]


def test_settings_reach_a_run_of_the_tokenizer(tmp_path, corpus):
    flags = ["--n-levels", "2", "--code-width", "8", "--norm-scope", "recording", "--residual", "published"]
    flags += ["--init", "random", "--decay", "0.9", "--revive-after", "7", "--aliases", "none", "--max-channels", "1"]
    flags += ["--max-share", "1"]
    flags += ["--max-grad-norm", "2", "--max-steps", "4"]
    command = ["pretrain", corpus, "--out", str(tmp_path / "run"), "--model", "brainrvq-tokenizer"]
    assert main([*command, *TINY_TOKENIZER, *flags, *SHORT]) == 0
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["model"] == {
        **{"n_levels": 2, "n_codes": 16, "code_width": 8, "depth": 1, "decoder_depth": 1, "norm_scope": "recording"},
        **{"residual": "published", "init": "random", "decay": 0.9, "revive_after": 7},
    }
    assert (settings["aliases"], settings["max_channels"], settings["max_share"]) == ("none", 1, 1.0)
    training = settings["training"]
    assert training["max_grad_norm"] == 2.0
    assert training["warmup_steps"] == 1  # a quarter
    assert training["lr"] == pytest.approx(5e-5 * 2 / 128)
    assert training["weight_decay"] == 1e-4


def test_settings_reach_a_run_of_the_encoder(tmp_path, corpus, tokenizer):
    flags = ["--depth", "1", "--qv-bias", "--no-qk-norm", "--layer-scale", "none", "--drop-path", "0.2"]
    flags += ["--norm-scope", "recording", "--cls-row", "first_channel", "--mask-mode", "random", "--mask-ratio", "0.4"]
    flags += ["--mask-published", "--n-codes", "16", "--max-steps", "1"]
    command = ["pretrain", corpus, "--out", str(tmp_path / "run"), "--model", "brainrvq", "--tokenizer", tokenizer]
    assert main([*command, *flags, *SHORT]) == 0
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["model"] == {
        **{"depth": 1, "qv_bias": True, "qk_norm": False, "layer_scale": None, "drop_path": 0.2, "n_levels": 3},
        **{"norm_scope": "recording", "cls_row": "first_channel", "n_codes": 16},
    }
    assert {name: settings["mask"][name] for name in ("mode", "ratio", "published")} == {
        **{"mode": "random", "ratio": 0.4, "published": True}
    }
    assert settings["training"]["max_grad_norm"] is None
    assert settings["training"]["lr"] == 5e-4


@pytest.mark.parametrize("model", ["brainrvq-tokenizer", "brainrvq"])
def test_help_is_that_of_the_model(capsys, model):
    with pytest.raises(SystemExit):
        main(["pretrain", "--model", model, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--layout" not in text
    assert ("--revive-after" in text, "--mask-punch" in text) == (model != "brainrvq", model == "brainrvq")
    assert "None: they stay as they are (default: None)" in text


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("brainrvq", [], "needs --tokenizer FILE"),
        ("brainrvq", ["--tokenizer", "absent"], "no weights file"),
        ("brainrvq", ["--tokenizer", "EXPERT"], "specmoe-expert"),
        ("brainrvq", ["--tokenizer", "TOKENIZER", "--n-codes", "64"], "n_codes=64, the tokenizer 16"),
        ("brainrvq", ["--tokenizer", "TOKENIZER", "--mask-punch", "2"], "punch must be"),
        ("brainrvq", ["--tokenizer", "TOKENIZER", "--layout", "published"], "--layout is a flag of --model specmoe"),
        ("brainrvq", ["--tokenizer", "TOKENIZER", "--mask-scope=local"], "--mask-scope is a flag of --model specmoe"),
        ("brainrvq-tokenizer", ["--init", "none"], "init='none' is not known"),
        ("brainrvq-tokenizer", ["--warmup-steps", "1"], "warmup_steps"),
        ("brainrvq-tokenizer", ["--mask-ratio", "0.5"], "of --model specmoe or brainrvq, not of --model brainrvq-tok"),
        ("brainrvq-tokenizer", ["--decoder", "gains"], "--decoder is a flag of --model specmoe"),
        ("specmoe", ["--depth", "1"], "--depth is a flag of --model brainrvq-tokenizer or brainrvq, not of"),
        ("specmoe", ["--tokenizer", "TOKENIZER"], "--tokenizer is a flag of --model brainrvq"),
    ],
)
def test_a_wrong_setting_of_a_model_is_one_line(tmp_path, corpus, tokenizer, weights, capsys, model, flags, message):
    files = {"EXPERT": weights[0], "TOKENIZER": tokenizer}
    run, flags = tmp_path / "run", [files.get(flag, flag) for flag in flags]
    assert main(["pretrain", corpus, "--out", str(run), "--model", model, *flags, "--max-steps", "1", *SHORT]) == 1
    assert message in error(capsys)
    assert not run.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sfreq": 250.0}, "BrainRVQ's networks work at 200 Hz"),
        ({"segment_seconds": 31.0}, "1 to 30 s"),
        ({"segment_seconds": 0.5}, "1 to 30 s"),
        ({"names": ("C3", "E7")}, "1 of the 2 channels: 'E7'"),
    ],
)
def test_a_corpus_that_a_model_cannot_take_is_one_line(tmp_path, tokenizer, capsys, options, message):
    options = {"names": ("C3", "C4"), "sfreq": 200.0, "segment_seconds": 2.0, **options}
    names, sfreq = options.pop("names"), options["sfreq"]
    data = make_eeg(1, 2, int(sfreq * 63), sfreq=sfreq, random_state=0)[0]
    preprocessing = {"channels": "all", "edge_seconds": 0.0, "min_seconds": 0.0, "reject_uv": None, **options}
    recording = ArrayRecording("only", data, sfreq, list(names))
    build_corpus([recording], tmp_path / "corpus", **preprocessing, progress=False)
    run = tmp_path / "run"
    command = ["pretrain", str(tmp_path / "corpus"), "--out", str(run), "--validation", "0", "--device", "cpu"]
    for flags in (["--model", "brainrvq-tokenizer"], ["--model", "brainrvq", "--tokenizer", tokenizer]):
        assert main([*command, *flags]) == 1
        assert message in error(capsys)
        assert not run.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--depht", "1"], "unrecognized arguments: --depht 1"), (["--model", "eegnet"], "invalid choice: 'eegnet'")],
)
def test_flags_of_no_model_are_not_understood(tmp_path, corpus, capsys, flags, message):
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", corpus, "--out", str(tmp_path / "run"), *flags])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_corpus_is_one_line(tmp_path, capsys):
    assert main(["pretrain", str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert str(tmp_path) in error(capsys)


def test_resuming_with_other_settings_is_one_line_that_names_them(tmp_path, corpus, capsys):
    command = ["pretrain", corpus, "--out", str(tmp_path / "run"), "--max-steps", "1", *SHORT]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 1
    assert "--resume" in error(capsys)
    assert main([*command, "--resume", "--seed", "7"]) == 1
    assert "training.seed was 41, now 7" in error(capsys)
    assert main([*command, "--resume"]) == 0


def test_published_weights_are_converted_with_a_note_on_their_licence(tmp_path, capsys):
    published = tmp_path / "Pretrained_Expert_1.pth"
    torch.save({"model_state": published_state(1)}, published)
    assert main(["convert", str(published), "--out", str(tmp_path / "expert.safetensors")]) == 0
    assert "non-commercial" in capsys.readouterr().err
    assert load_expert(tmp_path / "expert.safetensors").config.layout == "published"


def test_a_file_that_is_no_weights_is_one_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("nothing")
    for command in (["info", str(tmp_path / "notes.txt")], ["info", str(tmp_path / "absent.safetensors")]):
        assert main(command) == 1
        error(capsys)


def test_features_of_recordings_and_epochs_go_to_one_file(tmp_path, weights, capsys):
    info = mne.create_info(["C3", "C4"], 200.0, "eeg")
    mne.io.RawArray(make_eeg(1, 2, 200 * 9, random_state=0)[0], info).save(tmp_path / "rest_raw.fif")
    epochs, *_ = make_epochs(3, n_channels=3, duration=2, n_subjects=1)
    epochs.save(tmp_path / "task-epo.fif")
    files = [str(tmp_path / "rest_raw.fif"), str(tmp_path / "task-epo.fif")]
    command = ["features", *files, "--weights", *weights, "--out", str(tmp_path / "features.npz")]
    assert main([*command, "--window-seconds", "4", "--device", "cpu"]) == 0
    assert "5 windows, 768 features" in capsys.readouterr().out
    with np.load(tmp_path / "features.npz") as table:
        assert table["features"].shape == (5, 768)
        assert np.isfinite(table["features"]).all()
        assert table["names"].shape == (768,)
        assert table["source"].tolist() == [files[0]] * 2 + [files[1]] * 3
        np.testing.assert_allclose(table["start_seconds"][:2], [0, 4])


def test_without_weights_features_are_the_statistics_of_the_estimators_default(tmp_path, capsys):
    epochs, *_ = make_epochs(3, n_channels=2, duration=2, n_subjects=1)
    epochs.save(tmp_path / "task-epo.fif")
    command = ["features", str(tmp_path / "task-epo.fif"), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "unsaid.npz")]) == 0
    assert "random" not in capsys.readouterr().err
    assert main([*command, str(tmp_path / "said.npz"), "--weights", "starter"]) == 0
    read = mne.read_epochs(tmp_path / "task-epo.fif")
    expected = SpecMoEFeaturizer(parts=("experts",), n_components=None, device="cpu").fit_transform(read)
    for name in ("unsaid.npz", "said.npz"):
        with np.load(tmp_path / name) as table:
            np.testing.assert_array_equal(table["features"], expected)


def test_features_of_brainrvq_are_told_by_the_file(tmp_path, capsys):
    weights = save_brainrvq(BrainRVQ(depth=1, n_codes=8), tmp_path / "encoder.safetensors")
    epochs, *_ = make_epochs(3, n_channels=3, duration=2, n_subjects=1)
    epochs.save(tmp_path / "task-epo.fif")
    command = ["features", str(tmp_path / "task-epo.fif"), "--weights", str(weights), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "mean.npz")]) == 0
    assert "3 windows, 200 features" in capsys.readouterr().out
    read = mne.read_epochs(tmp_path / "task-epo.fif")
    expected = BrainRVQFeaturizer(weights, parts=("encoder",), device="cpu").fit_transform(read)
    with np.load(tmp_path / "mean.npz") as table:
        np.testing.assert_array_equal(table["features"], expected)
    assert main([*command, str(tmp_path / "apart.npz"), "--channel-pooling", "none"]) == 0
    assert "3 windows, 600 features" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "max.npz"), "--channel-pooling", "max"]) == 1
    assert "channel_pooling='mean'" in capsys.readouterr().err
    assert not (tmp_path / "max.npz").exists()


def test_a_tokenizer_may_be_named(corpus, tmp_path, capsys):
    command = ["pretrain", corpus, "--model", "brainrvq", *SHORT, "--depth", "1", "--max-steps", "1"]
    assert main([*command, "--out", str(tmp_path / "no"), "--tokenizer", "starter"]) == 1
    assert "use load_experts" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert main([*command, "--out", str(tmp_path / "run"), "--tokenizer", "brainrvq-starter-tokenizer"]) == 0
    assert load_brainrvq(tmp_path / "run" / "brainrvq.safetensors").config.n_codes == 512


def test_a_fine_tuned_brainrvq_is_converted_with_its_channels_and_the_right_licence(tmp_path, capsys):
    published = write(tmp_path / "published.pth", golden_tensors(fine_tuned_shapes(depth=1)))
    command = ["convert", str(published), "--out", str(tmp_path / "ours.safetensors")]
    assert main(command) == 1
    assert "channels" in capsys.readouterr().err
    assert main([*command, "--channels", "FP1,C3,CZ,O2"]) == 0
    told = capsys.readouterr().err
    assert "without a licence" in told
    assert "non-commercial" not in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ["absent.edf"]}, "no recording"),
        ({"weights": ["absent.safetensors"]}, "no weights file"),
        ({"weights": ["startr"]}, "named by a str: 'starter'"),
        ({"out": "absent/features.npz"}, "no folder"),
        ({"window": "60"}, "less than one window of 60 s"),
        ({"channels": "C3,Oz"}, "'Oz'"),
    ],
)
def test_a_mistake_in_features_is_one_line_and_leaves_no_file(tmp_path, weights, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    info = mne.create_info(["C3", "C4"], 200.0, "eeg")
    mne.io.RawArray(make_eeg(1, 2, 200 * 9, random_state=0)[0], info).save("rest_raw.fif")
    use = {"files": ["rest_raw.fif"], "weights": weights, "out": "features.npz", "window": "4", "channels": "C3"}
    use |= change
    command = ["features", *use["files"], "--weights", *use["weights"], "--out", use["out"], "--device", "cpu"]
    assert main([*command, "--window-seconds", use["window"], "--channels", use["channels"]]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "features.npz").exists()


def test_help_and_version_do_not_import_torch():
    code = (
        "import sys\nfrom mne_specmoe.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    print('torch' in sys.modules, 'mne' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [__version__, "False", "False"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_who_has_seen_enough_ends_a_command_without_a_word():
    code = "import sys; from mne_specmoe.cli import main; sys.exit(main(['info', 'starter']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def handed_over(monkeypatch, *flags: str) -> dict[str, object]:
    """What ``pretrain`` of SpecMoE makes of flags."""
    seen = {}

    def pretend(corpus, out, **options):
        seen.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(specmoe, "pretrain", pretend)
    assert main(["pretrain", "corpus", "--out", "run", *flags]) == 1
    return seen


# What the command line reads from configs of its own, and passes on as a whole.
ELSEWHERE = {"mask", "training", "housekeeping", "n_epochs", "validation"}


def test_without_flags_an_expert_is_pretrained_with_the_defaults_of_the_function(monkeypatch):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(specmoe.pretrain).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ELSEWHERE
    }
    found = handed_over(monkeypatch)
    assert {name: found[name] for name in defaults} == defaults
    assert found["mask"] == MaskConfig()


def test_every_flag_of_network_and_loss_reaches_an_expert(monkeypatch):
    flags = (
        "--dropout 0.1 --amplitude absolute --decoder gains --no-bypass --no-told-mask --mixtures 1 --augment "
        "--spectral-weight 0.1 --envelope-weight 0.2 --masked-weight 2 --spectrum-weight 0 --pair-weight 0.5 "
        "--clean-share 0.25"
    )
    expected = {
        "dropout": 0.1,
        "amplitude": "absolute",
        "decoder": "gains",
        "bypass": False,
        "told_mask": False,
        "n_mixtures": 1,
        "augment": True,
        "spectral_weight": 0.1,
        "envelope_weight": 0.2,
        "masked_weight": 2.0,
        "spectrum_weight": 0.0,
        "pair_weight": 0.5,
        "clean_share": 0.25,
    }
    found = handed_over(monkeypatch, *flags.split())
    assert {name: found[name] for name in expected} == expected
