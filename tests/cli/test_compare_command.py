"""`ddbm compare` from the shell: streams and exit codes."""

import json


def test_the_result_is_the_path_of_the_page(ddbm, folder, model):
    page = folder / "cmp.html"
    arguments = ["compare", folder / "in", "-m", model, "--with", "dbim:5", "--with", "ddbm:5", "-o", page]
    code, out, err = ddbm(*arguments)
    assert (code, out.decode().splitlines()) == (0, [str(page)])
    assert "[6/7] ddbm: 2.png" in err
    code, out, err = ddbm(*arguments)
    assert (code, out) == (2, b"") and "is there already" in err and "--overwrite" in err


def test_records_have_the_table(ddbm, folder, model):
    out = ddbm("compare", folder / "in", "-m", model, "--with", "dbim:5", "-o", folder / "c.json", "--json")[1]
    *_, record, finished = map(json.loads, out.decode().splitlines())
    assert record["rows"][0]["nfe"] == 5 and finished["event"] == "finished"


def test_a_failing_method_is_exit_code_3(ddbm, folder, model):
    page = folder / "c.html"
    code, _, err = ddbm("compare", folder / "in", "-m", model, "--with", "dbim:5", "--with", "dbim:1", "-o", page)
    assert code == 3 and page.exists() and "too few" in err and "Traceback" not in err
    code, _, err = ddbm("compare", folder / "in", "-m", model, "--with", "dbim:1", "-o", page, "--overwrite")
    assert code == 1 and "too few" in err


def test_bad_input_is_explained(ddbm, folder, model):
    for arguments, code, word in (
        (["nowhere"], 2, "nowhere"),
        (["in", "--with", "dbim:x"], 2, "cannot read 'x'"),
        (["in", "--nfe", "0"], 2, "--nfe must be at least 1"),
        (["in", "-o", "a.pdf"], 2, "unknown kind of report"),
        (["in", "-m", "missing.safetensors"], 4, "missing.safetensors"),
    ):
        found, out, err = ddbm("compare", folder / arguments[0], "-o", folder / "x.html", *arguments[1:])
        assert (found, out) == (code, b"") and word in err and "Traceback" not in err, arguments
