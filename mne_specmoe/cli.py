"""The command line: ``mne-specmoe corpus | pretrain | assemble | convert | info | features | diagnose | benchmark``."""

import argparse
import dataclasses
import json
import os
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mne_specmoe._files import check_folder_of, write_text
from mne_specmoe.cli_benchmark import add_benchmark

# Every verb imports what it needs itself: pretraining has to start on machines without mne, and --help at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 after an error that the user can mend, 130 after Ctrl-C, 141 if nobody reads on."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = _arguments(argv)
        with _plain_warnings():
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stopped:
        _tell(f"stopped. {stopped}".rstrip())
        return 130
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 141
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        _tell(f"error: {_one_line(error)}")
        return 1


def _tell(line: str) -> None:
    """A line for the user that is no result."""
    print(f"mne-specmoe: {line}", file=sys.stderr)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Tell warnings in one line, without the source code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _tell(f"warning: {_one_line(message)}")
        yield


def _one_line(error: Exception) -> str:
    """A message without line breaks; OSError's without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return re.sub(r"\s*\n\s*", " ", str(error)) or type(error).__name__


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says; a ValueError if flags are those of another model."""
    model = _model_of(argv)
    parser = _parser(model)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        if model is not None:
            _refuse_flags_of_other_models(unknown, model)
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def _parser(model: str | None) -> argparse.ArgumentParser:
    """All verbs; with the flags of a model, which are those of configs that import torch, only to pretrain it."""
    from mne_specmoe import __version__

    parser = argparse.ArgumentParser(prog="mne-specmoe", description="EEG foundation models: pretraining and use.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_corpus(verbs)
    _add_pretrain(verbs, model)
    for add in (_add_assemble, _add_convert, _add_info, _add_features, _add_diagnose):
        add(verbs)
    add_benchmark(verbs, _verb)
    return parser


def _verb(verbs, name: str, run, text: str, **options: object) -> argparse.ArgumentParser:
    """One verb, whose help shows defaults."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    description = text[0].upper() + text[1:] + "."
    parser = verbs.add_parser(name, help=text, description=description, formatter_class=formatter, **options)
    parser.set_defaults(run=run)
    return parser


def _number_or_none(text: str) -> float | None:
    """A number, or "none" to leave a step out."""
    numbers = _numbers_or_none(text)
    if numbers is not None and len(numbers) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is more than one number")
    return numbers and numbers[0]


def _integer_or_none(text: str) -> int | None:
    """An integer, or "none"."""
    try:
        return None if text.lower() == "none" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither an integer nor none") from None


def _numbers_or_none(text: str) -> list[float] | None:
    """Numbers with commas between them, or "none"."""
    try:
        return None if text.lower() == "none" else [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor none") from None


def _words(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


# corpus


def _add_corpus(verbs) -> None:
    """``corpus build | info | partition``."""
    corpus = verbs.add_parser("corpus", help="build and inspect a pretraining corpus")
    verbs = corpus.add_subparsers(metavar="COMMAND", required=True)
    build = _verb(verbs, "build", _corpus_build, "cut recordings into segments, preprocessed as in the paper")
    build.add_argument("recordings", nargs="+", metavar="FILE_OR_DIR", help="what MNE reads, folders, BIDS trees")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus; goes on with it")
    add = build.add_argument
    add("--l-freq", type=_number_or_none, default=0.3, help="high-pass in Hz, or none")
    add("--h-freq", type=_number_or_none, default=75.0, help="low-pass in Hz, or none")
    add("--notch", type=_numbers_or_none, default=[60.0], help="mains frequencies in Hz, as 50,60; or none")
    add("--sfreq", type=float, default=200.0, help="sampling rate of the corpus in Hz")
    add("--segment-seconds", type=float, default=30.0, help="length of a segment")
    add("--edge-seconds", type=float, default=60.0, help="cut from both ends of a recording")
    add("--min-seconds", type=float, default=300.0, help="shorter recordings are left out")
    add("--reject-uv", type=_number_or_none, default=100.0, help="segments that reach it are left out; or none")
    add(
        "--channels", default="paper", help='"paper" (19 of the 10-20 system), "all", a montage of MNE, or names: F3,F4'
    )
    add("--subject-pattern", help="regular expression, its group is the subject in the path of a file")
    add("--n-jobs", type=int, default=1, help="recordings at a time; -1 for one per core")
    add("--progress", action=argparse.BooleanOptionalAction, default=True, help="show a progress bar")
    _add_synthesize(verbs)
    join = _verb(verbs, "join", _corpus_join, "put corpora together, such as a real and a synthetic one")
    join.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS", help="what to put together")
    join.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus; new or empty")
    info = _verb(verbs, "info", _corpus_info, "say what a corpus holds")
    info.add_argument("corpus", type=Path, metavar="DIR")
    info.add_argument("--problems", action="store_true", help="list every recording that was left out, and why")
    part = _verb(verbs, "partition", _corpus_partition, "split a corpus into subsets, one per expert")
    part.add_argument("corpus", type=Path, metavar="DIR")
    part.add_argument("--n-subsets", type=int, default=3, help="how many")
    part.add_argument("--by", choices=("index", "subject", "spectrum"), default="index", help="how they are made")
    part.add_argument("--overwrite", action="store_true", help="replace one that was written before")


def _add_synthesize(verbs) -> None:
    """``corpus synthesize``."""
    parser = _verb(verbs, "synthesize", _corpus_synthesize, "make up a corpus of EEG of which everything is known")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus; goes on with it")
    add = parser.add_argument
    add("--hours", type=float, required=True, help="how much, of all people together")
    text = "caps, worn in turn: paper, a montage of MNE, NAME:24 for 24 of its channels at random, NAME:C3,C4 for these"
    add("--montage", nargs="+", default=["paper"], help=text)
    add("--seed", type=int, default=0, help="of everything")
    add("--person-seconds", type=float, default=120.0, help="EEG of one person")
    add("--segment-seconds", type=float, default=10.0, help="length of a segment")
    add("--l-freq", type=_number_or_none, default=0.5, help="high-pass in Hz, or none")
    add("--h-freq", type=_number_or_none, default=60.0, help="low-pass in Hz, or none")
    add("--notch", type=_numbers_or_none, default=[50.0, 60.0], help="mains frequencies in Hz, as 50,60; or none")
    add("--reject-uv", type=_number_or_none, default=300.0, help="segments that reach it are left out; or none")
    add("--n-jobs", type=int, default=1, help="people at a time; -1 for one per core")
    add("--progress", action=argparse.BooleanOptionalAction, default=True, help="show a progress bar")


@contextmanager
def _failed_builds() -> Iterator[None]:
    """Tell the user of a build that cannot go on: another process builds it, or one of --n-jobs was killed."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _corpus_synthesize(arguments: argparse.Namespace) -> int:
    from mne_specmoe.data.synthesis import synthesize_corpus

    with _failed_builds():
        corpus = synthesize_corpus(
            arguments.out,
            hours=arguments.hours,
            montages=arguments.montage,
            seed=arguments.seed,
            person_seconds=arguments.person_seconds,
            segment_seconds=arguments.segment_seconds,
            l_freq=arguments.l_freq,
            h_freq=arguments.h_freq,
            notch=arguments.notch,
            reject_uv=arguments.reject_uv,
            n_jobs=arguments.n_jobs,
            progress=arguments.progress,
        )
    print(corpus.summary())
    return 0


def _corpus_join(arguments: argparse.Namespace) -> int:
    from mne_specmoe.data.joining import join_corpora

    print(join_corpora(arguments.corpora, arguments.out).summary())
    return 0


def _corpus_build(arguments: argparse.Namespace) -> int:
    from mne_specmoe.data.build import build_corpus

    with _failed_builds():
        corpus = build_corpus(
            arguments.recordings,
            arguments.out,
            l_freq=arguments.l_freq,
            h_freq=arguments.h_freq,
            notch=arguments.notch,
            sfreq=arguments.sfreq,
            segment_seconds=arguments.segment_seconds,
            edge_seconds=arguments.edge_seconds,
            min_seconds=arguments.min_seconds,
            reject_uv=arguments.reject_uv,
            channels=_channels(arguments.channels),
            subject_pattern=arguments.subject_pattern,
            n_jobs=arguments.n_jobs,
            progress=arguments.progress,
        )
    print(corpus.summary())
    return 0


def _channels(text: str) -> str | list[str]:
    """A set of channels by its name, or the names of channels."""
    from mne_specmoe.data.segments import is_channel_set

    return text if is_channel_set(text) else _words(text)


def _corpus_info(arguments: argparse.Namespace) -> int:
    from mne_specmoe.data.corpus import Corpus

    corpus = Corpus(arguments.corpus)
    print(corpus.summary())
    if arguments.problems:
        for problem in corpus.problems:
            print(f"{problem.status}: {problem.source}: {problem.reason}")
    return 0


def _corpus_partition(arguments: argparse.Namespace) -> int:
    from mne_specmoe.data.corpus import Corpus, partition_corpus

    corpus = Corpus(arguments.corpus)
    partition = partition_corpus(corpus, arguments.n_subsets, by=arguments.by, overwrite=arguments.overwrite)
    for number, size in enumerate(partition.sizes, start=1):
        print(f"{number}/{partition.n_subsets}: {size} segments")
    return 0


# pretrain


def _model_of(argv: Sequence[str]) -> str | None:
    """The model to pretrain; None where that is not the verb."""
    if argv[:1] != ["pretrain"]:
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="?", default="specmoe")
    return parser.parse_known_args(argv)[0].model


def _refuse_flags_of_other_models(unknown: Sequence[str], model: str) -> None:
    """Raise a ValueError that says which models have an unknown flag, if any has it."""
    for flag in (text.split("=")[0] for text in unknown if text.startswith("--")):
        if owners := [name for name in _MODELS if flag in _flags_of(name)]:
            raise ValueError(f"{flag} is a flag of --model {' or '.join(owners)}, not of --model {model}.")


def _flags_of(model: str) -> set[str]:
    """Flags that a model has and others need not have."""
    parser = argparse.ArgumentParser(add_help=False)
    _MODELS[model].add_flags(parser)
    return set(re.findall(r"--[\w-]+", parser.format_usage()))


def _add_pretrain(verbs, model: str | None) -> None:
    """``pretrain``, with the flags of a model."""
    parser = _verb(verbs, "pretrain", _pretrain, "pretrain a network on a corpus", allow_abbrev=False)
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder that corpus build made")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    text = "what to pretrain; each has flags of its own: --model brainrvq --help"
    parser.add_argument("--model", choices=tuple(_MODELS), default="specmoe", help=text)
    parser.add_argument("--resume", action="store_true", help="go on with the run where it stands")
    add = parser.add_argument_group("data").add_argument
    add("--subset", metavar="I/K", help="subset I (from 1) of K; without it, the whole corpus")
    add("--partition-by", choices=("index", "subject", "spectrum"), default="index", help="how subsets are made")
    add("--validation", default="0.05", help="share of the subjects to hold out, or their names: S01,S02")
    add("--max-channels", type=int, help="channels of a segment to train on, drawn anew for every batch (all)")
    add("--max-share", type=float, help="largest share of a pass that one montage may have, as 0.4 (no limit)")
    add("--n-epochs", type=float, help="passes over the data, in place of --max-steps (the paper's without both)")
    if model in _MODELS:
        _MODELS[model].add_flags(parser)


def _add_specmoe(parser: argparse.ArgumentParser) -> None:
    """Flags of SpecMoE's experts."""
    from mne_specmoe.models.specmoe.config import AMPLITUDES, DECODERS
    from mne_specmoe.models.specmoe.masking import MaskConfig
    from mne_specmoe.pretraining.specmoe import RECIPE

    add = parser.add_argument_group("network").add_argument
    add("--layout", choices=("channelwise", "published"), default="channelwise", help="arithmetic of the network")
    add("--dropout", type=float, help="dropout probability; without it, 0 (published: 0.2)")
    text = "what the network sees of it; without it, relative (published: absolute)"
    add("--amplitude", choices=AMPLITUDES, help=text)
    add("--decoder", choices=DECODERS, help="what it puts out; without it, envelope (published: signal)")
    text = "whether decoders see the encoder's early stages"
    add("--bypass", action=argparse.BooleanOptionalAction, default=True, help=text)
    told = "tell the decoder what the mask kept"
    add("--told-mask", action=argparse.BooleanOptionalAction, default=False, help=told)
    text = "sums over channels that first convolutions see beside each; without it, 2 (published: 0)"
    add("--mixtures", type=int, dest="n_mixtures", help=text)
    add = parser.add_argument_group("loss").add_argument
    add("--spectral-weight", type=float, default=0.02, help="weight of the spectral term")
    add("--envelope-weight", type=float, default=1.0, help="weight of log envelopes, with --decoder envelope")
    add("--masked-weight", type=float, default=0.0, help="how much more envelopes count where the mask left nothing")
    text = "weight of the spectrum that is read from clean segments; without it, 3 (published: 0)"
    add("--spectrum-weight", type=float, help=text)
    text = "weight of what pairs of channels share, read from clean segments; without it, 1 (published: 0)"
    add("--pair-weight", type=float, help=text)
    add("--clean-share", type=float, default=0.5, help="share of a segment's time that is encoded clean, too")
    add("--augment", action="store_true", help="vary the segments from pass to pass, for a small corpus")
    _add_training(parser, RECIPE)
    _add_fields(parser.add_argument_group("mask"), MaskConfig, prefix="mask_")


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Flags of BrainRVQ's tokenizer."""
    from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizerConfig
    from mne_specmoe.pretraining.brainrvq import TOKENIZER_RECIPE

    group = parser.add_argument_group("network")
    _add_fields(group, BrainRVQTokenizerConfig)
    _add_aliases(group)
    _add_training(parser, TOKENIZER_RECIPE)


def _add_brainrvq(parser: argparse.ArgumentParser) -> None:
    """Flags of BrainRVQ's pretraining network."""
    from mne_specmoe.models.brainrvq.masking import PatchMaskConfig
    from mne_specmoe.models.brainrvq.prediction import BrainRVQConfig
    from mne_specmoe.pretraining.brainrvq import RECIPE

    parser.add_argument("--tokenizer", metavar="FILE", help="weights of the tokenizer, or their name; needed")
    group = parser.add_argument_group("network")
    as_tokenizer = dict.fromkeys(("n_levels", "n_codes"), "as the tokenizer")
    _add_fields(group, BrainRVQConfig, defaults=dict.fromkeys(as_tokenizer), worked_out=as_tokenizer)
    _add_aliases(group)
    _add_training(parser, RECIPE)
    _add_fields(parser.add_argument_group("mask"), PatchMaskConfig, prefix="mask_")


def _add_aliases(group) -> None:
    """The names that are taken for the same channel."""
    group.add_argument("--aliases", choices=("10-20", "none"), default="10-20", help="whether T3 is T7, and so on")


def _add_training(parser: argparse.ArgumentParser, recipe) -> None:
    """Flags of what all models have in common, with a model's recipe as defaults."""
    from mne_specmoe.training import Housekeeping, TrainingConfig

    defaults, worked_out = dict(recipe.defaults), {}
    if recipe.warmup:
        worked_out["warmup_steps"] = f"a share of {recipe.warmup:g} of the steps"
    if recipe.lr_batch is not None:
        worked_out["lr"] = (
            f"{defaults['lr']:g} for {recipe.lr_batch} segments per step, and proportional to their number"
        )
    defaults |= dict.fromkeys(worked_out)
    _add_fields(parser.add_argument_group("training"), TrainingConfig, defaults=defaults, worked_out=worked_out)
    _add_fields(parser.add_argument_group("run"), Housekeeping)


def _add_fields(
    group,
    config: type,
    *,
    prefix: str = "",
    defaults: Mapping[str, object] | None = None,
    worked_out: Mapping[str, str] | None = None,
) -> None:
    """One flag per field of a config, and what is worked out where a flag is not given."""
    readers = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        default = None if field.default is dataclasses.MISSING else field.default
        default = (defaults or {}).get(field.name, default)
        flag = "--" + f"{prefix}{field.name}".replace("_", "-")
        text = _first_sentence(config, field.name)
        if later := (worked_out or {}).get(field.name):
            text = f"{text}; without it, {later}"
        if readers[field.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        else:
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            group.add_argument(flag, type=_reader(readers[field.name]), default=shown, help=text)


def _reader(hint: object) -> Callable[[str], object]:
    """What turns a word of the command line into a value of a type."""
    if typing.get_origin(hint) is tuple:
        return _numbers_or_none
    if isinstance(hint, types.UnionType):  # with None
        return _integer_or_none if int in typing.get_args(hint) else _number_or_none
    return hint


def _first_sentence(config: type, name: str) -> str:
    """What a config's docstring, or that of a class that it extends, says of a field."""
    pattern = rf"^ *(?:\w+, )*{name}(?:, \w+)* : .*\n((?:^ {{8}}.*\n)+)"
    searches = (re.search(pattern, cls.__doc__ or "", re.MULTILINE) for cls in config.__mro__)
    text = next((" ".join(found[1].split()) for found in searches if found), "")
    return re.split(r"(?<=\w)\.(?:\s|$)", text)[0].replace("`", "").replace("%", "%%")


def _config(arguments: argparse.Namespace, config: type, *, prefix: str = "") -> dict[str, object]:
    """The fields of a config, from the command line."""
    values = {field.name: getattr(arguments, prefix + field.name) for field in dataclasses.fields(config)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _pretrain(arguments: argparse.Namespace) -> int:
    from mne_specmoe.training import is_main_process

    result = _MODELS[arguments.model].run(arguments)
    if not is_main_process():
        return 0
    if result.path is None:
        _tell(f"stopped after step {result.outcome.step} and saved; go on with --resume")
    else:
        print(result.path)
    return 0


def _pretrain_specmoe(arguments: argparse.Namespace) -> object:
    from mne_specmoe.models.specmoe.masking import MaskConfig
    from mne_specmoe.pretraining.specmoe import pretrain

    return pretrain(
        arguments.corpus,
        arguments.out,
        layout=arguments.layout,
        dropout=arguments.dropout,
        amplitude=arguments.amplitude,
        decoder=arguments.decoder,
        bypass=arguments.bypass,
        told_mask=arguments.told_mask,
        n_mixtures=arguments.n_mixtures,
        spectral_weight=arguments.spectral_weight,
        envelope_weight=arguments.envelope_weight,
        masked_weight=arguments.masked_weight,
        spectrum_weight=arguments.spectrum_weight,
        pair_weight=arguments.pair_weight,
        clean_share=arguments.clean_share,
        augment=arguments.augment,
        mask=MaskConfig(**_config(arguments, MaskConfig, prefix="mask_")),
        **_common(arguments),
    )


def _pretrain_tokenizer(arguments: argparse.Namespace) -> object:
    from mne_specmoe.models.brainrvq.tokenizer import BrainRVQTokenizerConfig
    from mne_specmoe.pretraining.brainrvq import pretrain_tokenizer

    return pretrain_tokenizer(
        arguments.corpus,
        arguments.out,
        network=_config(arguments, BrainRVQTokenizerConfig),
        aliases=arguments.aliases,
        **_common(arguments),
    )


def _pretrain_brainrvq(arguments: argparse.Namespace) -> object:
    from mne_specmoe.models.brainrvq.masking import PatchMaskConfig
    from mne_specmoe.models.brainrvq.prediction import BrainRVQConfig
    from mne_specmoe.pretraining.brainrvq import pretrain_brainrvq

    if arguments.tokenizer is None:
        raise ValueError(
            "--model brainrvq needs --tokenizer FILE, as mne-specmoe pretrain --model brainrvq-tokenizer writes it."
        )
    sizes = ("n_levels", "n_codes")  # the tokenizer's where they are not given
    network = _config(arguments, BrainRVQConfig)
    return pretrain_brainrvq(
        arguments.corpus,
        arguments.out,
        arguments.tokenizer,
        network={name: value for name, value in network.items() if value is not None or name not in sizes},
        mask=PatchMaskConfig(**_config(arguments, PatchMaskConfig, prefix="mask_")),
        aliases=arguments.aliases,
        **_common(arguments),
    )


def _common(arguments: argparse.Namespace) -> dict[str, object]:
    """Options that all models have."""
    from mne_specmoe.training import Housekeeping, TrainingConfig

    return {
        "subset": arguments.subset,
        "partition_by": arguments.partition_by,
        "max_channels": arguments.max_channels,
        "max_share": arguments.max_share,
        "validation": _validation(arguments.validation),
        "n_epochs": arguments.n_epochs,
        "training": _config(arguments, TrainingConfig),
        "housekeeping": Housekeeping(**_config(arguments, Housekeeping)),
        "resume": arguments.resume,
    }


class _Model(typing.NamedTuple):
    """What can be pretrained."""

    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], object]


_MODELS = {
    "specmoe": _Model(_add_specmoe, _pretrain_specmoe),
    "brainrvq-tokenizer": _Model(_add_tokenizer, _pretrain_tokenizer),
    "brainrvq": _Model(_add_brainrvq, _pretrain_brainrvq),
}


def _validation(text: str) -> float | list[str]:
    """A share, or names."""
    try:
        return float(text)
    except ValueError:
        return _words(text)


# weights files


def _add_assemble(verbs) -> None:
    """``assemble``."""
    parser = _verb(verbs, "assemble", _assemble, "put experts together into one file for weights=")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished runs, or files with one network")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as specmoe.safetensors")
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32", help="of what is stored")
    parser.add_argument("--licence", help="licence of the weights, for the header")


def _assemble(arguments: argparse.Namespace) -> int:
    from mne_specmoe.assembly import assemble

    print(assemble(arguments.runs, arguments.out, precision=arguments.precision, licence=arguments.licence))
    return 0


def _add_convert(verbs) -> None:
    """``convert``."""
    parser = _verb(verbs, "convert", _convert, "turn published weights into our format")
    parser.add_argument("published", type=Path, metavar="PUBLISHED", help="a .pth file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as expert.safetensors")
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32", help="of what is stored")
    parser.add_argument("--channels", type=_words, help="of a fine-tuned BrainRVQ, in order, as F3,F4")


def _convert(arguments: argparse.Namespace) -> int:
    from mne_specmoe.assembly import convert, describe

    path = convert(arguments.published, arguments.out, precision=arguments.precision, ch_names=arguments.channels)
    print(path)
    _tell(describe(path)["licence"])
    return 0


def _add_info(verbs) -> None:
    """``info``."""
    parser = _verb(verbs, "info", _info, "say what a weights file holds")
    parser.add_argument("file", metavar="FILE")


def _info(arguments: argparse.Namespace) -> int:
    from mne_specmoe.assembly import describe

    print(json.dumps(describe(arguments.file), indent=2, ensure_ascii=False))
    return 0


# features


def _add_features(verbs) -> None:
    """``features``."""
    parser = _verb(verbs, "features", _features, "compute features of recordings or epochs")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what MNE reads; epochs as -epo.fif")
    text = "files with weights, as for the estimators, or the name of weights that come with the package"
    parser.add_argument("--weights", nargs="+", default="starter", metavar="FILE", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .npz file")
    _add_windows(parser)
    add = parser.add_argument
    add(
        "--parts", type=_words, help="what features are made of, as spectrum,covariance (the pretrained networks alone)"
    )
    add("--readout", type=_words, help="what is taken of SpecMoE's experts, as embedding.mean,down1.log_std")
    add("--channel-pooling", choices=("mean", "max", "none"), default="mean", help="how channels become one")
    add("--device", default="auto", help="auto, cpu, cuda, mps")


def _add_windows(parser: argparse.ArgumentParser) -> None:
    """How recordings become windows."""
    add = parser.add_argument
    add("--window-seconds", type=float, default=10.0, help="length of the windows that recordings are cut into")
    add("--l-freq", type=_number_or_none, default=0.3, help="high-pass of recordings in Hz, or none")
    add("--h-freq", type=_number_or_none, default=75.0, help="low-pass of recordings in Hz, or none")
    add("--notch", type=_numbers_or_none, default=[60.0], help="mains frequencies in Hz, as 50,60; or none")
    add("--channels", type=_words, help="names of the channels to use, as F3,F4 (all EEG channels)")


def _features(arguments: argparse.Namespace) -> int:
    from mne_specmoe.features import write_features

    pooling = arguments.channel_pooling
    table = write_features(
        arguments.files,
        arguments.out,
        weights=_one_or_all(arguments.weights),
        **_windows(arguments),
        parts=arguments.parts,
        readout=arguments.readout,
        channel_pooling=None if pooling == "none" else pooling,
        device=arguments.device,
    )
    print(f"{arguments.out}: {table.features.shape[0]} windows, {table.features.shape[1]} features")
    return 0


def _one_or_all(weights: str | list[str]) -> str | list[str]:
    """One file by itself; a list only of several."""
    return weights[0] if isinstance(weights, list) and len(weights) == 1 else weights


def _windows(arguments: argparse.Namespace) -> dict[str, object]:
    """How recordings become windows, from the command line."""
    return {name: getattr(arguments, name) for name in ("window_seconds", "l_freq", "h_freq", "notch", "channels")}


# diagnose


def _add_diagnose(verbs) -> None:
    """``diagnose``."""
    parser = _verb(verbs, "diagnose", _diagnose, "check whether features of pretrained weights carry the EEG")
    text = "files with weights, as for the estimators, or the name of weights that come with the package"
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS", help=text)
    text = "recordings or epochs (-epo.fif) of people that the weights were not trained on"
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="FILE", help=text)
    add = parser.add_argument
    add("--subject-pattern", help="regular expression, its group is the subject in the path of a file")
    add("--subject-column", metavar="NAME", help="column of the epochs' metadata that says the subject instead")
    _add_windows(parser)
    add("--tokenizer", metavar="FILE", help="whose codes a BrainRVQ network predicts (brainrvq-starter has its own)")
    add("--max-epochs", type=int, default=240, help="windows used, at most; of all subjects alike")
    add("--n-random", type=int, default=3, help="seeds of random weights to compare with")
    add("--seed", type=int, default=0, help="of masks, strangers and random weights")
    add("--json", type=Path, metavar="FILE", help="write all numbers there")
    add("--figure", type=Path, metavar="FILE", help="draw them there, as .png, .pdf or .svg")
    add("--progress", action=argparse.BooleanOptionalAction, default=True, help="show progress bars")


def _diagnose(arguments: argparse.Namespace) -> int:
    from mne_specmoe.diagnosis.files import read_people
    from mne_specmoe.diagnosis.health import diagnose
    from mne_specmoe.diagnosis.table import as_text

    for out in (arguments.json, arguments.figure):  # before minutes are spent
        if out is not None:
            check_folder_of(out.absolute())
    subject = {"subject_pattern": arguments.subject_pattern, "subject_column": arguments.subject_column}
    verbose = int(arguments.progress)
    people = read_people(arguments.data, **subject, **_windows(arguments), verbose=verbose)
    diagnosis = diagnose(
        _one_or_all(arguments.weights),
        people.epochs,
        people.groups,
        tokenizer=arguments.tokenizer,
        max_epochs=arguments.max_epochs,
        n_random=arguments.n_random,
        random_state=arguments.seed,
        verbose=verbose,
    )
    print(as_text(diagnosis), end="")
    _write_diagnosis(diagnosis, arguments.json, arguments.figure)
    return 0


def _write_diagnosis(diagnosis: object, numbers: Path | None, figure: Path | None) -> None:
    """Numbers and figure of a health check, where they were asked for."""
    if numbers is not None:
        write_text(numbers, json.dumps(diagnosis.to_dict(), indent=2, ensure_ascii=False))
    if figure is not None:
        from mne_specmoe.viz import plot_diagnosis

        plot_diagnosis(diagnosis).savefig(figure, dpi=200)


if __name__ == "__main__":
    sys.exit(main())
