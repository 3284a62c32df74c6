"""The worked numbers of the explainer, tried in a browser: hover, click, type, press, and read what is there."""

from __future__ import annotations

import json

import pytest

X, K = [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]]
A = {"problem": "conv i3x3 k2x2", "x": X, "weight": K}
B = {"problem": "conv_transpose i2x2 k2x2", "x": [[1, 2], [3, 4]], "weight": K}
C = {"problem": "conv_transpose i2x2 k3x3 s2", "x": [[1, 2], [3, 4]]}
COLUMNS = "(table, at) => [...table.tBodies[0].rows].map(row => at.map(i => row.cells[i].textContent))"
C_OUTPUT = "1 2 5 4 6 / 4 5 14 10 12 / 10 14 36 24 30 / 12 15 34 20 24 / 21 24 55 32 36"


# -- the sliding filter -----------------------------------------------------------------------------------------------


def test_an_output_is_made_of_its_window(visit):
    page = visit(A)
    assert page.hover("output", 0, 0) == "1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37"
    assert page.hits("input") == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert page.hover("output", 1, 0) == "1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67"


def test_a_weight_shows_every_input_it_meets(visit):
    page = visit(A)
    page.hover("weight", 1, 1)
    assert page.hits("input") == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert page.hits("output") == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_an_input_shows_every_output_it_feeds_and_through_which_weight(visit):
    page = visit(A)
    page.hover("input", 1, 1)
    assert page.hits("output") == [(0, 0), (0, 1), (1, 0), (1, 1)]
    labels = [page.cell("output", r, c).get_attribute("data-with") for r in (0, 1) for c in (0, 1)]
    assert labels == ["×4", "×3", "×2", "×1"]


def test_padding_is_drawn_and_marked(visit):
    page = visit({**A, "problem": "conv i3x3 k2x2 p1"})
    assert page.rows("output") == "4 11 18 9 / 18 37 47 21 / 36 67 77 33 / 14 23 26 9"
    assert page.hover("output", 0, 0).endswith("= 4")
    assert page("formula").locator(".term").count() == 4
    assert page("formula").locator(".padding").count() == 3
    assert page.hits("input") == [(-1, -1), (-1, 0), (0, -1), (0, 0)]
    assert page("input").locator(".padding.hit").count() == 3


def test_dilation_and_the_digit_kernel(visit):
    assert visit({**A, "problem": "conv i3x3 k2x2 d2"}).rows("output") == "64"
    page = visit(A)
    page("weight-digits").click()
    assert page.rows("output") == "5421 6532 / 8754 9865"


def test_true_convolution_turns_the_kernel(visit):
    page = visit(A)
    page("flip").check()
    assert page.rows("output") == "23 33 / 53 63"


# -- the transposed convolution ---------------------------------------------------------------------------------------


def test_each_input_paints_the_kernel(visit):
    page = visit(B)
    assert page.page.locator('[data-testid^="part-"]').count() == 4
    assert page.rows("part-1-0") == "0 0 0 / 3 6 0 / 9 12 0"
    assert page.rows("output") == "1 4 4 / 6 20 16 / 9 24 16"
    assert page.hover("output", 1, 1) == "4*1 + 3*2 + 2*3 + 1*4 = 4 + 6 + 6 + 4 = 20"
    assert [page.hits(f"part-{i}-{j}") for i in (0, 1) for j in (0, 1)] == [[(1, 1)]] * 4


def test_a_stride_of_the_kernels_size_leaves_one_contributor_each(visit):
    page = visit({**B, "problem": "conv_transpose i2x2 k2x2 s2"})
    assert page.rows("output") == "1 2 2 4 / 3 4 6 8 / 3 6 4 8 / 9 12 12 16"
    for row in range(4):
        for column in range(4):
            page.hover("output", row, column)
            assert len(page.hits("input")) == 1


def test_the_digit_kernel_spells_the_sources(visit):
    page = visit({**B, "weight": "digits"})
    assert page.cell("output", 1, 1).text_content() == "1234"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", C_OUTPUT),
        (" p1", "5 14 10 / 14 36 24 / 15 34 20"),
        (" p1 op1", "5 14 10 12 / 14 36 24 30 / 15 34 20 24 / 24 55 32 36"),
    ],
)
def test_the_crop(visit, options, expected):
    page = visit({**C, "problem": C["problem"] + options})
    assert page.rows("output") == expected
    if options:
        assert page.rows("canvas") == C_OUTPUT


def test_output_padding_alone_adds_cells_that_nobody_paints(visit):
    page = visit({**C, "problem": "conv_transpose i2x2 k3x3 s2 op1"})
    assert page.rows("output").endswith("/ 0 0 0 0 0 0")
    assert page("canvas").locator(".beyond").count() == 11


def test_zero_insertion_gives_the_same_only_with_the_kernel_turned(visit):
    page = visit(C)
    page("tab-zero-insert").click()
    assert page.rows("output") == C_OUTPUT
    page("no-flip").check()
    assert page.rows("output").startswith("9 8 25 16 14 /")
    assert page("not-equal").text_content().startswith("not equal")
    assert page.hover("output", 0, 0).endswith("= 9")
    page("no-flip").uncheck()
    assert (
        page.hover("output", 0, 0)
        == "9*0 + 8*0 + 7*0 + 6*0 + 5*0 + 4*0 + 3*0 + 2*0 + 1*1 = 0 + 0 + 0 + 0 + 0 + 0 + 0 + 0 + 1 = 1"
    )


def test_windows_on_inserted_zeros_stay_in_their_depth_and_their_group(visit):
    page = visit({"problem": "conv_transpose i2x2x2 k2x2x2 s2 p1", "tab": "zero-insert"})
    page.hover("output-0", 1, 1)
    assert [len(page.hits(f"stretched-{z}")) for z in range(3)] == [4, 4, 0]
    page = visit({"problem": "conv_transpose ci4 co4 g2 i2x2 k3x3 s2", "tab": "zero-insert"})
    page.hover("output-2", 2, 0)
    assert [len(page.hits(f"stretched-{channel}")) for channel in range(4)] == [0, 0, 9, 9]


def test_the_crop_of_a_volume(visit):
    page = visit({"problem": "conv_transpose i2x2x2 k3x3x3 s2 p1 op1"})
    inner = "[...document.querySelectorAll('[data-testid^=canvas]')].map(grid => grid.querySelectorAll('.kept').length)"
    assert page.page.evaluate(inner) == [0, 16, 16, 16, 16]
    page.hover("output-0", 1, 1)
    assert page.hits("canvas-1") == [(2, 2)]


def test_gathering_is_the_same_sum(visit):
    page = visit({**C, "tab": "gather"})
    assert page.rows("output") == C_OUTPUT
    assert page.hover("output", 2, 2).endswith("= 36")


# -- the other views --------------------------------------------------------------------------------------------------


def test_the_phases(visit):
    page = visit({**C, "view": "phases"})
    kernels = [page.rows(f"subkernel-{i}-{j}") for i in (0, 1) for j in (0, 1)]
    assert kernels == ["1 3 / 7 9", "2 / 8", "4 6", "5"]
    assert page.rows("phase-1-1") == "5 10 / 15 20"
    assert page.rows("interleaved") == C_OUTPUT
    page("step").click()
    assert page.formula == "phase (even, even): taps {0,2} x {0,2}, sum 20"


def test_the_phases_of_a_volume(visit):
    page = visit({"problem": "conv_transpose i2x2x2 k3x3x3 s2", "view": "phases"})
    assert [page.rows(f"subkernel-0-1-0-{depth}") for depth in (0, 1)] == ["4 6", "22 24"]
    page.hover("interleaved-1", 1, 1)
    assert page.hits("phase-1-1-1-0") == [(0, 0)]
    assert page.rows("subkernel-1-1-1") == "14"


def test_a_large_matrix_shows_what_is_selected_elsewhere(visit):
    page = visit({"problem": "conv i20x20 k3x3 p1", "view": "matrix", "pin": ["output", 200]})
    place = "strip => strip.offsetTop / strip.parentElement.clientHeight"
    assert abs(page.page.locator(".strip").evaluate(place) - 0.5) < 0.01
    page("matrix").locator("canvas").click(position={"x": 300, "y": 5})
    assert page.hash["pin"][1] < 10


def test_the_matrix_and_its_transpose(visit):
    page = visit({**A, "view": "matrix"})
    assert page.rows("matrix").split(" / ")[0] == "1 2 0 3 4 0 0 0 0"
    assert "4×9" in page("matrix-shape").text_content()
    assert page("product").text_content() == "37 47 67 77"
    assert page("round-trip").text_content().startswith("37 121 94 178")
    page("transpose").click()
    assert "9×4" in page("matrix-shape").text_content()
    assert page("product").text_content() == "1 4 4 6 20 16 9 24 16"


@pytest.mark.parametrize(
    ("problem", "counts", "word"),
    [
        ("i4 k3 s2", "1 1 2 1 2 1 2 1 1", "uneven"),
        ("i4 k2 s2", "1 1 1 1 1 1 1 1", "even"),
        ("i4 k4 s2 p1", "1 2 2 2 2 2 2 1", "even"),
        ("i4 k2 s3", "1 1 0 1 1 0 1 1 0 1 1", "HOLES"),
        ("i4 k3 s2 d2", "1 0 2 0 3 0 3 0 2 0 1", "HOLES"),
    ],
)
def test_the_overlap(visit, problem, counts, word):
    page = visit({"problem": f"conv_transpose {problem}", "view": "overlap"})
    assert page.rows("overlap") == counts
    assert page("verdict").text_content().strip().startswith(word)


def test_sizes_there_and_back(visit):
    page = visit({"problem": "conv i24 k3 s2 p1", "view": "sizes"})
    assert page("size").text_content() == "floor((24 + 2*1 - 1*(3-1) - 1)/2) + 1 = 12"
    assert "24 → conv → 12 → conv_transpose → 23" in page("round-trip").text_content()
    assert "output_padding 1 makes it 24" in page("round-trip").text_content()


def test_the_solver(visit):
    page = visit({"problem": "conv_transpose i4 k3 s2 p1 op1", "view": "sizes", "coarse": 4, "fine": 8})
    rows = page("solutions").evaluate(
        "t => [...t.tBodies[0].rows].map(r => [r.cells[0].textContent, r.cells[2].textContent])"
    )
    found = dict(rows)
    for name in ("k2 s2 p0", "k4 s2 p1", "k6 s2 p2"):
        assert found[name] == "even"
    for name in ("k3 s2 p1 op1", "k5 s2 p2 op1"):
        assert found[name] == "uneven"
    kinds = [kind for _, kind in rows]
    assert kinds == sorted(kinds, key=lambda kind: kind != "even")
    assert page("size").text_content() == "(4-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 8"


def test_the_gradients(visit):
    page = visit({**A, "view": "gradient"})
    assert page.hover("gradient-weight", 0, 0) == "1*1 + 1*2 + 1*4 + 1*5 = 1 + 2 + 4 + 5 = 12"
    assert page.rows("gradient-input") == "1 3 2 / 4 10 6 / 3 7 4"
    assert page.rows("gradient-weight") == "12 16 / 24 28"


def test_the_gradients_under_the_filter_speak_of_gradients(visit):
    page = visit(A)
    page("gradient").click()
    assert page.hover("gradient-weight", 0, 0) == "1*1 + 1*2 + 1*4 + 1*5 = 1 + 2 + 4 + 5 = 12"
    assert page.hover("gradient-input", 1, 1).endswith("= 10")
    assert page.hits("output") == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert page.hover("gradient-output", 0, 1).startswith("dL/dy row 0 column 1 (1) is multiplied into 4 cells")
    assert page.hover("weight", 0, 0).startswith("weight 0,0 (1) meets 4 inputs")


def test_the_receptive_field(visit):
    page = visit({"problem": "conv i32 k3 p1", "view": "field", "layers": "conv i32 k3 p1; k3 s2 p1; k3 s2 p1"})
    rows = page("spans").evaluate(
        "t => [...t.tBodies[0].rows].map(r => [r.cells[1].textContent, r.cells[2].textContent])"
    )
    assert rows == [["3", "1"], ["5", "2"], ["9", "4"]]
    page.cell("field", 3, 4).click()
    assert [c for level, c in page.hits("field") if level == 0] == list(range(12, 21))


def test_dilations_leave_gaps(visit):
    page = visit({"problem": "conv i25 k3 d2", "view": "field", "layers": "conv i25 k3 d2 p2; k3 d2 p2; k3 d2 p2"})
    page.cell("field", 3, 12).click()
    assert [c for level, c in page.hits("field") if level == 0] == list(range(6, 19, 2))
    assert "only 7 cells" in page("field-badge").text_content()


def test_one_and_three_dimensions(visit):
    row = {"problem": "conv_transpose i3 k3", "x": [1, 2, 3], "weight": [1, 10, 100]}
    page = visit(row)
    assert page.rows("output") == "1 12 123 230 300"
    assert page.hover("output", 0, 2) == "100*1 + 10*2 + 1*3 = 100 + 20 + 3 = 123"
    assert visit({**row, "problem": "conv_transpose i3 k3 s2"}).rows("output") == "1 10 102 20 203 30 300"
    page = visit({"problem": "conv i3x3x3 k2x2x2", "weight": [[[1, 1], [1, 1]], [[1, 1], [1, 1]]]})
    assert [page.rows("output-0"), page.rows("output-1")] == ["60 68 / 84 92", "132 140 / 156 164"]


def test_channels_have_a_line_of_their_own(visit):
    page = visit({"problem": "conv ci2 i2x2 k2x2"})
    assert page.hover("output", 0, 0).split("\n")[1] == "channel 0: 30, channel 1: 174, sum 204"


# -- bad input --------------------------------------------------------------------------------------------------------


def test_an_impossible_parameter_is_refused_in_a_sentence_and_the_picture_stays(visit):
    page = visit({**C, "problem": C["problem"] + " p1 op1"})
    before = page.rows("output")
    page("param-output_padding").fill("2")
    assert "output_padding 2 must be smaller than stride 2 or dilation 1" in page("error").text_content()
    assert page.rows("output") == before
    page("param-output_padding").fill("0")
    assert page.page.locator('[data-testid="error"]').count() == 0
    assert page.rows("output") == "5 14 10 / 14 36 24 / 15 34 20"


@pytest.mark.parametrize(
    "text",
    [
        "conv i3x3",
        "conv i3x3 k9x9",
        "conv i1000000000000x9 k3x3",
        "frob",
        "conv i3 k2 s0",
        "<b>x</b>",
        "conv i9x9x9x9x9x9x9x9x9 k2",
    ],
)
def test_whatever_is_typed_as_a_problem_is_answered(visit, text):
    page = visit(A)
    page("param-problem").fill(text)
    assert len(page("error").text_content()) > 20
    assert page.rows("output") == "37 47 / 67 77"


@pytest.mark.parametrize(
    "hash_",
    [
        "%7B%22problem%22%3A%22conv", "%", "{}", "[1]", "null", '{"problem":7}',
        '{"problem":"conv i3 k2","view":"<i>"}', '{"problem":"conv i3 k2","step":-1}',
        '{"problem":"conv i3 k2","x":[1,2]}', '{"problem":"conv i3 k2","x":{"a":1}}',
    ],
)  # fmt: skip
def test_a_damaged_link_is_answered_and_never_blank(visit, page_url, hash_):
    page = visit(url=page_url + "#" + hash_)
    assert len(page("error").text_content()) > 20
    assert page.rows("output") == "37 47 / 67 77"


@pytest.mark.parametrize(
    "part",
    [
        {"view": "matrix", "vector": "1 2 3"},
        {"view": "gradient", "dy": [1, 2]},
        {"view": "field", "layers": "<img>", "pin": ["constructor", 0]},
    ],
)
def test_what_does_not_fit_in_a_link_is_answered(visit, part):
    page = visit({**A, **part})
    assert len(page.page.locator("main .complaint").text_content()) > 20
    page("view-filter").click()
    assert page.rows("output") == "37 47 / 67 77"


def test_a_link_that_is_broken_later_leaves_the_picture(visit):
    page = visit(B)
    page.page.evaluate("location.hash = '#%7Bbroken'")
    page("error").wait_for()
    assert page.rows("output") == "1 4 4 / 6 20 16 / 9 24 16"


def test_labels_are_text_and_strange_numbers_print_as_such(visit):
    page = visit({**A, "problem": "conv i3x3 k2x2", "x": [["nan", "inf", "-inf"], [1, 2, 3], [4, 5, 6]]})
    assert page.rows("output").startswith("nan nan /")
    page = visit({"problem": "<img src=x onerror=alert(1)>"})
    assert "<img" in page("error").text_content()
    assert page.page.locator("img").count() == 0


# -- links, size, keyboard, motion ------------------------------------------------------------------------------------


def test_every_state_is_a_link(visit, page_url):
    page = visit(A)
    page("param-stride").fill("2")
    page("param-padding").fill("1")
    page.cell("output", 1, 1).click()
    there = page.page.url
    other = visit(url=there)
    assert other.rows("output") == page.rows("output") == "4 18 / 36 77"
    assert other.formula == page.formula
    assert other("param-stride").input_value() == "2"
    assert other.hash["problem"] == page.hash["problem"]


def test_the_keyboard_alone_is_enough(visit):
    page = visit(A)
    for _ in range(80):
        page.page.keyboard.press("Tab")
        if page.page.evaluate('document.activeElement.closest("[data-testid=output]") !== null'):
            break
    assert page.page.evaluate("document.activeElement.dataset.rc") == "0,0"
    page.page.keyboard.press("ArrowDown")
    assert page.formula == "1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67"
    assert page("live").text_content().startswith("output row 1 column 0 is 67: weight 0,0 (1) times input 1,0 (4)")
    page.page.keyboard.press("Enter")
    assert page.hash["pin"] == ["output", 2]
    page.page.keyboard.press("Control+Home")
    assert page.formula.endswith("= 37")
    page.page.keyboard.press("Escape")
    assert "pin" not in page.hash
    assert page.formula == ""
    page.page.keyboard.press(" ")
    assert page("play").get_attribute("aria-pressed") == "true"
    page.page.keyboard.press(" ")
    assert page("play").get_attribute("aria-pressed") == "false"
    page.page.keyboard.press(".")
    assert page.hash["step"] == 1
    page.page.keyboard.press(",")
    assert page.hash["step"] == 0
    page.page.keyboard.press("3")
    assert page.hash["view"] == "matrix"
    page.page.keyboard.press("?")
    page.page.locator("dialog").wait_for()
    page.page.keyboard.press("Escape")
    page.page.locator("dialog").wait_for(state="detached")


def test_the_numbers_are_kept_there_and_back(visit):
    page = visit({**A, "x": [[9, 2, 3], [4, 5, 6], [7, 8, 1]]})
    page.page.keyboard.press("2")
    assert page.rows("input") == "1 2 / 3 4"
    page.page.keyboard.press("1")
    assert page.rows("input") == "9 2 3 / 4 5 6 / 7 8 1"


def test_the_picture_is_two_keys_away(visit):
    page = visit(A)
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Enter")
    page.page.keyboard.press("ArrowDown")
    assert page("live").text_content().startswith("input row 1 column 0 (4) feeds 2 outputs")


def test_buttons_count_each_axis_and_stop_where_nothing_smaller_is_legal(visit):
    page = visit({"problem": "conv i5x4 k3x2 p1:2x0"})
    spin = lambda name, at: page(f"param-{name}").locator("xpath=../..").locator(".spin button").nth(at)  # noqa: E731
    for name in ("kernel", "padding"):
        spin(name, 1).click()
    assert page.hash["problem"] == "conv n1 ci1 co1 i5x4 k4x3 p2:3x1 f32"
    spin("stride", 0).click()
    assert page("param-stride").input_value() == "1"


def test_the_live_region_is_silent_while_playing(visit):
    page = visit(A)
    live = page("formula").locator("xpath=..")
    assert live.get_attribute("aria-live") == "polite"
    page("play").click()
    assert live.get_attribute("aria-live") == "off"


def test_playing_goes_to_the_last_step_and_stops(visit):
    page = visit(A)
    page.page.clock.install()
    page("play").click()
    page.page.clock.run_for(10_000)
    assert page("play").get_attribute("aria-pressed") == "false"
    assert page.formula.endswith("= 77")


def test_nothing_plays_by_itself(visit):
    page = visit({**A, "step": 0}, reduced_motion="reduce")
    page.page.wait_for_timeout(3000)
    assert page.hash.get("step", 0) == 0
    assert page("count").text_content() == "step 1 of 4"


def test_a_newcomer_meets_the_tour_and_every_step_is_a_link(visit, page_url):
    page = visit()
    assert page("tour-card").is_visible()
    titles = []
    for _ in range(11):
        titles.append(page("tour-card").locator("h2").text_content())
        page("tour-next").click()
    assert len(set(titles)) == 11
    again = visit(page.hash)
    assert again("tour-card").locator("h2").text_content() == page("tour-card").locator("h2").text_content()
    page("tour-next").click()
    assert page.page.locator('[data-testid="tour-card"]').count() == 0


def test_what_is_lit_is_lit_in_both_views(visit):
    page = visit({**A, "view": "filter", "beside": "matrix"})
    page.hover("output", 1, 0)
    assert page.hits("matrix") == [(2, 3), (2, 4), (2, 6), (2, 7)]
    page("matrix").locator("th[scope=col]").nth(4).hover()
    assert page.hits("output") == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_cell_can_be_edited_in_place(visit):
    page = visit(A)
    page.cell("input", 0, 0).dblclick()
    page.page.keyboard.type("10")
    page.page.keyboard.press("Enter")
    assert page.rows("output") == "46 47 / 67 77"
    assert page.hash["x"][0][0][0][0] == 10


def test_a_large_input_is_shown_at_once(visit):
    page = visit({"problem": "conv i200x200 k3x3 p1"})
    assert page.cell("output", 0, 0).text_content() == str(5 * 1 + 6 * 2 + 8 * 201 + 9 * 202)
    assert page.hover("output", 1, 1).count("*") == 9
    assert page("input").locator("td").count() < 400
    page.page.mouse.move(2, 2)
    page("output").locator('[tabindex="0"]').focus()
    for _ in range(12):
        page.page.keyboard.press("ArrowDown")
    reached = page.page.evaluate("document.activeElement.dataset.rc")
    assert int(reached.split(",")[0]) >= 12
    assert page("live").text_content().startswith(f"output row {reached.split(',')[0]} ")
    page("last").click()
    assert page.formula.endswith(f"= {page.cell('output', 199, 199).text_content()}")


def test_a_million_cells_do_not_freeze_the_page(visit):
    page = visit({"problem": "conv i4000x4000 k5x5"})
    assert page.page.locator(".complaint, .note").count() > 0
    page = visit({"problem": "conv i1000x1000 k3x3"})
    assert page.hover("output", 2, 3).count("*") == 9
    page("last").click()
    assert page.hover("weight", 1, 1).startswith("weight 1,1 (5) meets 996004 inputs: ")
    assert len(page.hits("output")) == 100


HOVER = """async place => {
    document.querySelector(place).dispatchEvent(new PointerEvent("pointerover", {bubbles: true, pointerType: "mouse"}));
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
}"""


@pytest.mark.parametrize("problem", ["conv i200x200 k3x3 p1", "conv_transpose i400x400 k4x4 s2 p1"])
def test_the_first_picture_and_every_answer_are_quick(visit, problem):
    """In milliseconds of the page's own thread, since this machine may have other things to do."""
    page = visit(B)
    session = page.page.context.new_cdp_session(page.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent(act, *given):
        before = used()
        act(*given)
        return 1000 * (used() - before)

    def used():
        return next(
            one["value"] for one in session.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration"
        )

    def load():
        page.page.goto("about:blank")
        page.page.goto(page.url_of({"problem": problem}))
        page.cell("output", 0, 0).wait_for()

    assert spent(load) < 1000
    for array, place in (("output", "0,0"), ("output", "0,1"), ("input", "0,1"), ("weight", "0,1")):
        assert spent(page.page.evaluate, HOVER, f'[data-testid="{array}"] [data-rc="{place}"]') < 50


# -- the same numbers as Python ---------------------------------------------------------------------------------------


def test_the_page_gives_what_python_gives(visit):
    from twofold import explain

    page = visit(A)
    for problem, x in (("conv i3x3 k2x2 p1", X), ("conv_transpose i2x2 k3x3 s2 p1 op1", [[0.1, -2], ["nan", 4]])):
        numbers = [[float(value) for value in row] for row in x]
        expected = explain.problem(problem, numbers).to_json()
        assert page.page.evaluate("([p, x]) => twofold.trace(p, x)", [problem, x]) == expected
    assert json.loads(expected)["y"][0][0][0][0] == 0.5
