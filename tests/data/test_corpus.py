"""Reading a corpus, and dividing it. The corpora are written by hand here: reading needs no MNE."""

import json
import pickle
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from mne_specmoe.data import corpus as module
from mne_specmoe.data.corpus import Corpus, partition_corpus, shard_files

SFREQ, N_TIMES = 200.0, 400
SETTINGS = {"sfreq": SFREQ, "n_times": N_TIMES, "l_freq": 0.3, "h_freq": 75.0}


def start(path, version=1):
    """A corpus without recordings."""
    (path / "shards").mkdir(parents=True)
    content = {"format_version": version, "settings": SETTINGS}
    (path / "corpus.json").write_text(json.dumps(content))
    return path


def write(path, name, *, n=4, ch_names=("Cz", "Pz"), subject=None, kept=None, frequency=None, locations=None):
    """Add a recording of noise, or of a tone in noise, and return its values."""
    rng = np.random.default_rng(int.from_bytes(name.encode(), "little"))
    values = rng.integers(-3000, 3000, (n, len(ch_names), N_TIMES)).astype(np.int16)
    if frequency is not None:
        values += np.rint(25000 * np.sin(2 * np.pi * frequency * np.arange(N_TIMES) / SFREQ)).astype(np.int16)
    scale = rng.uniform(0.001, 0.002, values.shape[:2]).astype(np.float32)
    for file, array in zip(shard_files(path, name), (values, scale), strict=True):
        np.save(file, array)
    entry = {
        "source": f"/data/{name}.edf",
        "status": "done",
        "subject": subject or name,
        "shard": name,
        "ch_names": ch_names,
        "locations": [[None] * 3] * len(ch_names) if locations is None else locations,
        "slots": [2 * place for place in range(n)],
        "starts": [4.0 * place for place in range(n)],
        "hashes": [blake2b(one.tobytes(), digest_size=16).hexdigest() for one in values],
        "kept": [True] * n if kept is None else kept,
        "hash": "0",
        "dropped": {"amplitude": 1},
    }
    append(path, entry)
    return values, scale


def append(path, entry):
    """Add a line to the index."""
    with open(path / "recordings.jsonl", "a") as index:
        index.write(json.dumps(entry) + "\n")


@pytest.fixture
def path(tmp_path):
    """Two recordings of one montage, one of another, one that failed."""
    path = start(tmp_path / "corpus")
    write(path, "a", subject="x")
    write(path, "b", subject="y", kept=[True, False, True, True])
    append(path, {"source": "/data/z.edf", "status": "failed", "reason": "It is broken."})
    write(path, "c", subject="x", n=3, ch_names=("EEG",))
    return path


def test_segments_are_numbered_through_without_those_left_out(path):
    corpus = Corpus(path)
    assert len(corpus) == 4 + 3 + 3
    assert corpus.recording_of.tolist() == [0] * 4 + [1] * 3 + [2] * 3
    assert corpus.montage_of.tolist() == [0] * 7 + [1] * 3
    assert corpus.slot_of.tolist() == [0, 2, 4, 6, 0, 4, 6, 0, 2, 4]
    assert corpus.start_of.tolist() == [0, 4, 8, 12, 0, 8, 12, 0, 4, 8]
    assert corpus.subject_of.tolist() == ["x"] * 4 + ["y"] * 3 + ["x"] * 3
    assert corpus.montages == (("Cz", "Pz"), ("EEG",))
    assert (corpus.sfreq, corpus.n_times) == (200.0, 400)
    assert [each.n_segments for each in corpus.recordings] == [4, 3, 3]
    assert [each.reason for each in corpus.problems] == ["It is broken."]
    assert "10 segments, 3 recordings" in repr(corpus)


def test_segments_are_read_in_the_order_asked_for(tmp_path):
    path = start(tmp_path / "corpus")
    first, first_scale = write(path, "a")
    second, second_scale = write(path, "b", kept=[False, True, True, True])
    values, scale_uv = Corpus(path).read([5, 0, 4, 0])
    np.testing.assert_array_equal(values, np.stack([second[2], first[0], second[1], first[0]]))
    np.testing.assert_array_equal(
        scale_uv, np.stack([second_scale[2], first_scale[0], second_scale[1], first_scale[0]])
    )
    assert (values.dtype, scale_uv.dtype) == (np.int16, np.float32)
    values[:] = 0  # the caller's own
    np.testing.assert_array_equal(Corpus(path).read([0]).values[0], first[0])


@pytest.mark.parametrize("wrong", [[10], [-1], [0, 10]])
def test_numbers_that_are_not_the_corpuss_are_refused(path, wrong):
    with pytest.raises(IndexError, match=r"There is no segment (10|-1); the corpus .* has 0 to 9"):
        Corpus(path).read(wrong)


@pytest.mark.parametrize("wrong", [[], 3, [0.5], [[0, 1]]])
def test_what_is_read_must_be_a_sequence_of_integers(path, wrong):
    with pytest.raises(ValueError, match="indices must be a sequence of at least one integer"):
        Corpus(path).read(wrong)


def test_segments_of_two_montages_do_not_fit_into_one_array(path):
    with pytest.raises(ValueError, match=r"2 different montages \(2 channels: Cz, Pz; 1 channel: EEG\).*montage_of"):
        Corpus(path).read([6, 7])
    assert Corpus(path).read([7, 8]).values.shape == (2, 1, N_TIMES)


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_N_OPEN", 3)
    path = start(tmp_path / "corpus")
    written = [write(path, f"r{number}", n=1)[0] for number in range(10)]
    corpus = Corpus(path)
    assert not corpus._open  # nothing before it is needed
    np.testing.assert_array_equal(corpus.read(range(10)).values, np.concatenate(written))
    assert list(corpus._open) == [7, 8, 9]
    corpus.read([7])
    corpus.read([0])
    assert list(corpus._open) == [9, 7, 0]  # the one that was not used for the longest time is closed


def test_a_corpus_can_be_sent_to_another_process(path):
    corpus = Corpus(path)
    expected = corpus.read([0, 6]).values
    sent = pickle.dumps(corpus)
    assert len(sent) < 20_000  # the data stay where they are
    other = pickle.loads(sent)
    np.testing.assert_array_equal(other.read([0, 6]).values, expected)
    assert other.hash == corpus.hash


def test_the_hash_is_that_of_the_segments_in_their_order(tmp_path):
    paths = [start(tmp_path / name) for name in "abcd"]
    for path, names in zip(paths, ("ab", "ab", "ba", "ab"), strict=True):
        for name in names:
            write(path, name, kept=[path.name != "d", True, True, True])
    first, same, order, fewer = (Corpus(path).hash for path in paths)
    assert first == same
    assert len({first, order, fewer}) == 3


def test_locations_are_the_median_of_what_is_known(tmp_path):
    path = start(tmp_path / "corpus")
    for name, height in zip("abc", (0.1, 0.2, 0.9), strict=True):
        write(path, name, locations=[[0.0, 0.0, height], [None] * 3])
    write(path, "d")
    found = Corpus(path).locations(0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [0, 0, 0.2], atol=1e-6)
    assert np.isnan(found[1]).all()
    with pytest.raises(ValueError, match="montage must be >= 0 and <= 0"):
        Corpus(path).locations(1)


def test_a_last_line_cut_off_is_not_there(path):
    whole = Corpus(path).hash
    for rest in (b'{"source": "/data/late', b"\0" * 50 + b"\n"):
        index = path / "recordings.jsonl"
        content = index.read_bytes()
        index.write_bytes(content + rest)
        assert Corpus(path).hash == whole
        assert module.read_index(path)[1] == len(content)
        index.write_bytes(content)


def test_the_last_line_about_a_source_counts(path):
    append(path, {"source": "/data/b.edf", "status": "failed", "reason": "It is gone."})
    write(path, "z")  # was broken before
    corpus = Corpus(path)
    assert [each.source for each in corpus.recordings] == ["/data/a.edf", "/data/c.edf", "/data/z.edf"]
    assert [each.reason for each in corpus.problems] == ["It is gone."]


def test_an_index_damaged_in_the_middle_is_an_error(path):
    index = path / "recordings.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join([lines[0], "{oh no\n", *lines[1:]]))
    with pytest.raises(ValueError, match=r"Line 2 of .*recordings.jsonl cannot be read.*Delete that line"):
        Corpus(path)


def test_a_folder_that_is_no_corpus_says_so(tmp_path):
    with pytest.raises(ValueError, match="is no corpus: it has no file corpus.json. Build one with build_corpus"):
        Corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(ValueError, match="is no corpus of this package"):
        Corpus(tmp_path)


@pytest.mark.parametrize(("version", "advice"), [(0, "Build the corpus again"), (2, "Update mne-specmoe")])
def test_another_version_of_the_format_says_what_to_do(tmp_path, version, advice):
    with pytest.raises(ValueError, match=rf"format version {version}, but .* reads version 1. {advice}"):
        Corpus(start(tmp_path / "corpus", version))


def test_a_corpus_without_segments_says_that_its_build_was_interrupted(tmp_path):
    path = start(tmp_path / "corpus")
    with pytest.raises(ValueError, match="has no segments: its build was interrupted"):
        Corpus(path)


@pytest.mark.parametrize("damage", ["absent", "short", "shape"])
def test_damaged_segments_are_named(path, damage):
    file = shard_files(path, "b")[0]
    if damage == "absent":
        file.unlink()
    elif damage == "short":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        np.save(file, np.zeros((4, 2, 7), dtype=np.int16))
    corpus = Corpus(path)
    assert len(corpus.read([0]).values) == 1
    with pytest.raises(ValueError, match=r"is damaged: the segments of /data/b.edf cannot be read"):
        corpus.read([4])


def test_reading_and_dividing_need_neither_mne_nor_joblib(path):
    code = (
        "import sys; from mne_specmoe.data.corpus import Corpus, partition_corpus;"
        "corpus = Corpus(sys.argv[1]); corpus.read([0]); corpus.summary(); partition_corpus(corpus, 2);"
        "print(*sorted({'mne', 'joblib', 'sklearn', 'skorch', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_the_summary_counts_and_reads_well(path):
    for number in range(12):
        append(path, {"source": f"/data/{number}", "status": "rejected", "reason": f"Reason {number % 11}."})
    append(path, {"source": "/data/copy", "status": "duplicate", "reason": "All of it is in a."})
    (path / module.LOCK_NAME).touch()
    summary = Corpus(path).summary()
    assert (summary.n_recordings, summary.n_subjects, summary.n_segments) == (3, 2, 10)
    assert summary.hours == pytest.approx(20 / 3600)
    assert summary.montages == ((("Cz", "Pz"), 7), (("EEG",), 3))
    assert summary.dropped == {"amplitude": 3}
    assert summary.problems["rejected: Reason 0."] == 2
    assert not summary.finished
    text = str(summary)
    for line in (
        "10 segments of 2 s at 200 Hz, 0.01 hours",
        "3 recordings of 2 subjects",
        "  7 x 2 channels: Cz, Pz",
        "  3 x amplitude",
        "  2 x rejected: Reason 0.",
        "  ... and 3 other kinds",
        "not finished",
    ):
        assert line in text


@pytest.fixture
def mixed(tmp_path):
    """Seven subjects of different sizes; every recording is dominated by another frequency."""
    path = start(tmp_path / "mixed")
    sizes = (3, 9, 1, 6, 2, 4, 5)
    for number, (n, frequency) in enumerate(zip(sizes, (50, 2, 10, 2, 50, 10, 10), strict=True)):
        ch_names = ("EEG",) if number == 3 else ("Cz", "Pz")
        write(path, f"r{number}", n=n, subject=f"s{number % 5}", frequency=frequency, ch_names=ch_names)
    return Corpus(path)


@pytest.mark.parametrize("by", ["index", "subject", "spectrum"])
@pytest.mark.parametrize("n_subsets", [1, 2, 3])
def test_subsets_are_disjoint_complete_and_not_empty(mixed, by, n_subsets):
    partition = partition_corpus(mixed, n_subsets, by=by)
    parts = [partition.segments(number) for number in range(1, n_subsets + 1)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(mixed)))
    assert partition.sizes == tuple(map(len, parts))
    assert min(partition.sizes) > 0
    assert partition.subset_of.dtype == np.int8
    assert partition.corpus_hash == mixed.hash


def test_by_index_are_equal_ranges(mixed):
    partition = partition_corpus(mixed, 4)
    assert partition.sizes == (8, 7, 8, 7)
    assert np.all(np.diff(partition.subset_of) >= 0)


def test_by_subject_keeps_subjects_whole_and_sizes_similar(mixed):
    partition = partition_corpus(mixed, 3, by="subject")
    for subject in np.unique(mixed.subject_of):
        assert len(np.unique(partition.subset_of[mixed.subject_of == subject])) == 1
    assert partition.sizes == (14, 8, 8)  # of subjects with 14, 7, 6, 2, 1 segments


def test_by_spectrum_finds_the_kinds_of_recordings_lowest_first(mixed):
    partition = partition_corpus(mixed, 3, by="spectrum")
    expected = np.asarray([3, 1, 2, 1, 3, 2, 2])[mixed.recording_of]
    np.testing.assert_array_equal(partition.subset_of, expected)
    for seed in (1, 2, 3):
        other = partition_corpus(mixed, 3, by="spectrum", random_state=seed)
        np.testing.assert_array_equal(other.subset_of, expected)


def test_the_gain_of_the_amplifier_does_not_change_the_spectral_subsets(mixed):
    expected = partition_corpus(mixed, 3, by="spectrum").subset_of
    for number, recording in enumerate(mixed.recordings):
        file = shard_files(mixed.path, recording.shard)[1]
        np.save(file, np.load(file) * np.float32(10.0 ** (number - 3)))
    again = partition_corpus(Corpus(mixed.path), 3, by="spectrum", overwrite=True)
    np.testing.assert_array_equal(again.subset_of, expected)


def test_band_powers_are_those_of_a_known_spectrum():
    freqs = np.arange(0, 101) * 1.0
    edges = np.asarray([0.5, 1.5, 4.5, 4.75, 50.0])
    power = np.where((freqs > 1) & (freqs < 5), 100.0, 1.0)[None]
    found = 10 ** module._band_log_power(freqs, power, edges)
    np.testing.assert_allclose(found[0, :3], [1, 100, 1], rtol=1e-9)


def test_a_division_is_written_down_and_read_back(mixed, monkeypatch):
    first = partition_corpus(mixed, 3, by="spectrum", random_state=5)
    assert sorted(each.name for each in (mixed.path / "partitions").iterdir()) == ["3-spectrum-seed5.json"]
    monkeypatch.setitem(module._DIVISIONS, "spectrum", None)  # would fail if it were made again
    again = partition_corpus(Corpus(mixed.path), 3, by="spectrum", random_state=5)
    assert again == first
    np.testing.assert_array_equal(again.subset_of, first.subset_of)
    assert again.random_state == 5
    assert partition_corpus(mixed, 3).random_state is None


def test_a_corpus_that_has_changed_has_to_be_divided_anew(mixed):
    partition_corpus(mixed, 2)
    write(mixed.path, "new")
    grown = Corpus(mixed.path)
    with pytest.raises(ValueError, match=r"has changed since 2-index.json was written.*overwrite=True"):
        partition_corpus(grown, 2)
    assert sum(partition_corpus(grown, 2, overwrite=True).sizes) == len(grown)
    assert sum(partition_corpus(grown, 2).sizes) == len(grown)


def test_a_division_that_cannot_be_read_is_an_error(mixed):
    partition_corpus(mixed, 2)
    (mixed.path / "partitions/2-index.json").write_text('{"by": ')
    with pytest.raises(ValueError, match="2-index.json cannot be read; delete it, or pass overwrite=True"):
        partition_corpus(mixed, 2)


@pytest.mark.parametrize("subset", [0, 4, -1])
def test_subsets_are_counted_from_one(mixed, subset):
    with pytest.raises(ValueError, match=rf"There is no subset {subset} of 3: subsets are counted from 1 to 3"):
        partition_corpus(mixed, 3).segments(subset)


def test_impossible_divisions_are_refused(mixed, tmp_path):
    with pytest.raises(ValueError, match="by='size' is not known; allowed: 'index', 'subject', 'spectrum'"):
        partition_corpus(mixed, 3, by="size")
    with pytest.raises(ValueError, match="n_subsets must be >= 1"):
        partition_corpus(mixed, 0)
    with pytest.raises(ValueError, match="has 30 segments, too few for 31 subsets"):
        partition_corpus(mixed, 31)
    with pytest.raises(ValueError, match="has 5 subjects, too few for 6 subsets"):
        partition_corpus(mixed, 6, by="subject")
    path = start(tmp_path / "same")
    values, scale = write(path, "a")
    for file, array in zip(shard_files(path, "a"), (values, scale), strict=True):
        np.save(file, np.broadcast_to(array[:1], array.shape))
    with pytest.raises(ValueError, match="do not fall into 2 clusters"):
        partition_corpus(Corpus(path), 2, by="spectrum")
    assert not (path / "partitions").exists()
