"""Definitions: strict keys, subsets, places, published figures; and which tasks a data folder gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.errors import MissingDataError, TaskError
from eval.tasks import System, find_tasks, load_task, load_tasks, read_definitions
from eval.tasks.kinds import KINDS
from eval.tasks.loading import packaged_definitions
from retrieval.encoders import FunctionEncoder

STS = 'name = "Mine"\nkind = "STS"\n'
RERANKING = 'name = "Mine"\nkind = "Reranking"\n'
PAIRS = 'name = "Mine"\nkind = "PairClassification"\n'


def definition_file(folder: Path, content: str, name: str = "task.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def with_data(folder: Path, name: str = "test.tsv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("score\tsentence1\tsentence2\n1\ta\tb\n2\tb\tc\n")
    return folder


def test_every_packaged_definition_is_valid_and_unique():
    definitions = packaged_definitions()
    names = [definition.name for definition in definitions]
    assert len(set(names)) == len(names) >= 30
    assert {definition.kind for definition in definitions} <= set(KINDS)
    assert not any("{" in definition.folder + getattr(definition, "file", "") for definition in definitions)


def test_packaged_figures_carry_source_and_belong_to_a_subset_that_exists():
    for definition in packaged_definitions():
        for figure in definition.references:
            assert figure.source
            assert figure.subset in ("", definition.subset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (STS + "scoer = 'x'", r"task\.toml: .*no key 'scoer'; it knows .*score"),
        (STS + "[[references]]\nsystem = 'a'\nvalue = 1.0\nsource = 's'\ntolerence = 0.1", "no key 'tolerence'"),
        (STS + "split = 3", r"task\.toml: Expected `str`, got `int` - at `\$.split`"),
        ('name = "Mine"', "names no kind"),
        ('name = "Mine"\nkind = "Sts"', r"no kind of task 'Sts'; one of .*STS"),
        ('kind = "STS"', "missing required field `name`"),
        ('name = "a b"\nkind = "STS"', "the name 'a b'"),
        ('name = "a/b"\nkind = "STS"', "the name 'a/b'"),
        (STS + "folder = '../elsewhere'", "leaves the data folder"),
        (STS + "file = '/etc/passwd'", "leaves the data folder"),
        (STS + "subset = 'a'\nsubsets = ['b']", "exclude each other"),
        (STS + "subsets = ['b', 'b']", "twice"),
        (STS + "encode = 'both'", "encode"),
        (STS + "references = 3", "references"),
        (RERANKING + "relevant = 0", "relevant must be above lowest_grade, 0, not 0"),
        (RERANKING + "lowest_grade = 1", "relevant must be above lowest_grade, 1, not 1"),
        (RERANKING + "candidate_depth = 0", "candidate_depth must be at least 1, not 0"),
        ('name = "R"\nkind = "Retrieval"\nrelevant = 0', "relevant must be at least 1, not 0"),
        ('name = "R"\nkind = "LongDocumentRetrieval"\ndepth = -1', "depth must be at least 1, not -1"),
        (PAIRS + "positive = ['1', '2']\nnegative = ['0', '2']", "label '2' is listed as positive and as negative"),
        (PAIRS + "ignored = ['0']", "label '0' is listed as negative and as ignored"),
        ("name = ", "not TOML"),
    ],
)
def test_a_faulty_definition_is_an_error_that_names_file_and_fault(tmp_path, content, message):
    file = definition_file(tmp_path, content)
    with pytest.raises(TaskError, match=message) as caught:
        read_definitions(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_definition_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(TaskError, match="cannot read the task definition"):
        read_definitions(tmp_path / "none.toml")


def test_subsets_become_tasks_with_their_own_files_and_figures(tmp_path):
    figures = [
        f"{{ system = 'm', value = {value}, source = 's', subset = '{s}' }}" for s, value in (("de", 1), ("en-x", 2))
    ]
    file = definition_file(
        tmp_path,
        STS
        + "subsets = ['de', 'en-x']\nfile = '{subset}.{language}.{split}.tsv'\n"
        + f"references = [{','.join(figures)}]",
    )
    first, second = read_definitions(file)
    assert (first.name, second.name) == ("Mine.de", "Mine.en-x")
    assert (first.file, second.file) == ("de.de.test.tsv", "en-x.en.test.tsv")
    assert [figure.value for figure in second.references] == [2]


def test_what_decides_scores_is_in_the_dictionary_and_what_is_for_people_is_not(tmp_path):
    plain = read_definitions(definition_file(tmp_path, STS))[0]
    described = read_definitions(definition_file(tmp_path, STS + "description = 'x'"))[0]
    other = read_definitions(definition_file(tmp_path, STS + "score = 'x'"))[0]
    assert plain.as_dict() == described.as_dict() != other.as_dict()


class Named(FunctionEncoder):
    """An encoder with the source and settings of a published model."""

    def __init__(self, source, max_tokens=256, **identity):
        super().__init__(lambda texts: [[1.0] * 384 for _ in texts], "named", 1, max_tokens=max_tokens)
        self._source, self._more = source, identity

    @property
    def source(self):
        return self._source

    def identity(self):
        return super().identity() | self._more


def figure_of(tmp_path, name: str):
    content = STS + f"references = [{{ system = '{name}', value = 0.5, source = 's', tolerance = 0.1 }}]"
    return read_definitions(definition_file(tmp_path, content))[0]


def test_a_figure_is_found_by_the_system_or_by_its_encoder(tmp_path):
    definition = figure_of(tmp_path, "m")
    encoder = FunctionEncoder(lambda texts: [[1.0] for _ in texts], "m", 1)
    assert definition.reference_for(System("m")).value == 0.5
    assert definition.reference_for(System("other", encoder=Named("models/m"))).tolerance == 0.1
    assert definition.reference_for(System("other", encoder=encoder)) is None


def test_a_figure_binds_only_the_settings_that_it_was_measured_with(tmp_path):
    definition = figure_of(tmp_path, "all-MiniLM-L6-v2")
    for source in ("embedded", "/models/all-MiniLM-L6-v2"):
        assert definition.reference_for(System("s", encoder=Named(source))).tolerance == 0.1
        for changed in (Named(source, max_tokens=128), Named(source, query_prompt="query: ")):
            reference = definition.reference_for(System("s", encoder=changed))
            assert (reference.value, reference.tolerance) == (0.5, None)


class TestFinding:
    def test_own_data_needs_no_code(self, tmp_path):
        definition_file(with_data(tmp_path / "mine"), STS)
        definition_file(with_data(tmp_path), 'name = "Top"\nkind = "STS"', "top.task.toml")
        found = find_tasks(tmp_path)
        assert [task.name for task in found.tasks] == ["Mine", "Top"]
        assert "no folder" in found.missing["STSBenchmark"]
        assert [task.name for task in load_tasks(tmp_path, ["Top"])] == ["Top"]

    def test_packaged_tasks_appear_with_their_data(self, tmp_path):
        with_data(tmp_path / "stsb")
        assert [task.name for task in load_tasks(tmp_path)] == ["STSBenchmark"]

    def test_a_folder_without_the_file_is_reported(self, tmp_path):
        with_data(tmp_path / "stsb", "train.tsv")
        assert "no file test.tsv" in find_tasks(tmp_path).missing["STSBenchmark"]

    def test_a_named_task_without_data_is_an_error(self, tmp_path):
        with pytest.raises(MissingDataError, match="STSBenchmark has no data: no folder"):
            load_tasks(tmp_path, ["STSBenchmark"])

    @pytest.mark.parametrize("names", [None, ["Mine"]])
    @pytest.mark.parametrize(
        ("key", "missing"), [("file = 'tset.tsv'", r"no file tset\.tsv"), ("folder = 'gone'", "no folder .*gone")]
    )
    def test_a_definition_beside_the_data_has_its_data(self, tmp_path, names, key, missing):
        file = definition_file(with_data(tmp_path / "mine"), STS + key)
        with pytest.raises(MissingDataError, match=rf"task Mine .* has no data: {missing}.*; correct") as caught:
            find_tasks(tmp_path, names)
        assert str(file) in str(caught.value)
        # Others can be named all the same.
        definition_file(with_data(tmp_path / "good"), 'name = "Good"\nkind = "STS"')
        assert [task.name for task in load_tasks(tmp_path, ["Good"])] == ["Good"]

    def test_a_name_stands_for_all_subsets(self, tmp_path):
        folder = with_data(tmp_path / "mine", "a.tsv")
        with_data(folder, "b.tsv")
        definition_file(folder, STS + "subsets = ['a', 'b']\nfile = '{subset}.tsv'")
        assert [task.name for task in load_tasks(tmp_path, ["Mine"])] == ["Mine.a", "Mine.b"]
        assert [task.name for task in load_tasks(tmp_path, ["Mine.b"])] == ["Mine.b"]

    def test_two_tasks_of_one_name_are_an_error(self, tmp_path):
        definition_file(with_data(tmp_path / "a"), STS)
        definition_file(with_data(tmp_path / "b"), STS)
        with pytest.raises(TaskError, match="two tasks are called 'Mine'"):
            find_tasks(tmp_path)

    def test_an_unknown_name_lists_the_known_ones(self, tmp_path):
        with pytest.raises(TaskError, match=r"no task 'Nothing'; one of .*STSBenchmark"):
            find_tasks(tmp_path, ["Nothing"])

    def test_one_text_is_no_list_of_names(self, tmp_path):
        with pytest.raises(TaskError, match="put it in a list"):
            find_tasks(tmp_path, "STSBenchmark")

    def test_a_data_folder_must_exist(self, tmp_path):
        with pytest.raises(TaskError, match="no data folder"):
            find_tasks(tmp_path / "none")

    def test_one_file_is_loaded_beside_its_data(self, tmp_path):
        (task,) = load_task(definition_file(with_data(tmp_path), STS))
        assert task.name == "Mine"
        before = task.identity()
        (tmp_path / "test.tsv").write_text("score\tsentence1\tsentence2\n1\ta\tb\n3\tb\tc\n")
        assert before != task.identity()


def test_a_faulty_definition_keeps_only_itself_from_being_named(tmp_path):
    definition_file(with_data(tmp_path / "good"), STS)
    definition_file(tmp_path / "bad", 'name = "Bad"\nkind = "Nope"\n')
    assert [task.name for task in find_tasks(tmp_path, ["Mine"]).tasks] == ["Mine"]
    for names in (None, ["Bad"]):
        with pytest.raises(TaskError, match=r"bad.task\.toml: no kind of task 'Nope'"):
            find_tasks(tmp_path, names)


def test_a_data_set_of_ir_datasets_needs_no_folder(tmp_path):
    definition_file(tmp_path, 'name = "Mine"\nkind = "Retrieval"\nfolder = "ir_datasets:vaswani"\n')
    found = find_tasks(tmp_path)
    assert [task.name for task in found.tasks] == ["Mine"]
    assert "Mine" not in found.missing


def test_files_of_one_name_are_told_apart(tmp_path):
    keys = 'file = "test/data.tsv"\ntrain_file = "train/data.tsv"\n'
    for part in ("train", "test"):
        definition_file(tmp_path / part, "text\tlabel\na\t1\nb\t0\n", "data.tsv")
    (task,) = load_task(definition_file(tmp_path, 'name = "Mine"\nkind = "Classification"\n' + keys))
    before = task.identity()
    assert set(before["files"]) == {"train/data.tsv", "test/data.tsv"}
    definition_file(tmp_path / "train", "text\tlabel\na\t0\nb\t1\n", "data.tsv")
    assert task.identity() != before
