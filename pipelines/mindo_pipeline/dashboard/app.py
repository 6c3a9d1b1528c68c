"""The pages, as marimo runs them: a copy for each visitor, in which a change of a filter runs only what depends on it."""

# ruff: noqa: B018
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import marimo

app = marimo.App(width="full", app_title="Mindo")


@app.cell
def _():
    import marimo as mo

    from mindo_pipeline.dashboard import controls, deployment, pages, questions
    from mindo_pipeline.dashboard.fragments import cards
    from mindo_pipeline.dashboard.showing import (
        answered,
        conversation,
        health,
        html,
        loading,
        overview,
        shown,
        shown_by_and_by,
    )

    served = deployment.served()
    reader, variables = served.reader, served.variables
    given = dict(mo.query_params().to_dict())
    return (
        answered,
        cards,
        controls,
        conversation,
        given,
        health,
        html,
        loading,
        mo,
        overview,
        pages,
        questions,
        reader,
        shown,
        shown_by_and_by,
        variables,
    )


@app.cell
def _(answered, mo, questions, reader):
    there, _failure = answered(reader, lambda: questions.loaded(reader))
    mo.stop(there is None, _failure)
    return (there,)


@app.cell
def _(controls, given, mo, there):
    page = controls.page(given)
    companies = controls.companies(mo, there, given)
    period = controls.period(mo, there, given)
    return companies, page, period


@app.cell
def _(companies, controls, mo, page, period, reader):
    mo.vstack(
        [
            controls.heading(reader, page, companies.value, period.value),
            mo.hstack([companies, period], justify="start", wrap=True, gap=1),
        ]
    )
    return


@app.cell
def _(controls, mo, period, there):
    dates = controls.dates(mo, there) if period.value == controls.CHOSEN else None
    dates
    return (dates,)


@app.cell
def _(companies, controls, dates, period, there):
    scope = controls.scope(there, companies.value, period.value, dates.value if dates is not None else None)
    return (scope,)


@app.cell
def _(controls, health, mo, page, reader, scope, shown_by_and_by):
    mo.stop(page != controls.HEALTH)
    shown_by_and_by(mo, reader, health(reader, scope))
    return


@app.cell
def _(controls, mo, overview, page, reader, scope, shown_by_and_by):
    mo.stop(page != controls.CONVERSATIONS)
    shown_by_and_by(mo, reader, overview(reader, scope))
    return


@app.cell
def _(answered, controls, given, mo, page, questions, reader, scope):
    mo.stop(page != controls.CONVERSATIONS)
    _labels, _failure = answered(reader, lambda: questions.labels(reader, scope))
    mo.stop(not _labels, _failure)
    label = controls.label(mo, _labels, given)
    label
    return (label,)


@app.cell
def _(cards, controls, label, loading, mo, page, pages, questions, reader, scope, shown):
    mo.stop(page != controls.CONVERSATIONS)
    loading(mo)
    shown(
        mo,
        reader,
        lambda: cards(pages.label(label.value, questions.label_values(reader, scope, label.value), scope)),
    )
    return


@app.cell
def _(answered, cards, controls, html, mo, page, pages, questions, reader, scope, variables):
    mo.stop(page != controls.CONVERSATIONS)
    _tools, _failure = answered(reader, lambda: questions.tools(reader, scope, variables))
    mo.stop(not _tools, _failure)
    tool, only_failed = controls.tool(mo, _tools)
    mo.vstack([html(cards(pages.tools(_tools))), mo.hstack([tool, only_failed], justify="start", wrap=True, gap=1)])
    return only_failed, tool


@app.cell
def _(mo, only_failed, scope, tool):
    _about = (scope, tool.value, only_failed.value)
    calls_before, set_calls_before = mo.state((), allow_self_loops=True)
    return calls_before, set_calls_before


@app.cell
def _(
    answered,
    calls_before,
    controls,
    html,
    mo,
    only_failed,
    page,
    pages,
    questions,
    reader,
    scope,
    set_calls_before,
    tool,
    variables,
):
    mo.stop(page != controls.CONVERSATIONS or not tool.value)
    _before = calls_before()
    _rows, _failure = answered(
        reader,
        lambda: questions.tool_calls(
            reader, scope, variables, tool.value, only_failed.value, _before[-1] if _before else None
        ),
    )
    mo.stop(_rows is None, _failure)
    newer_calls, older_calls = controls.paging(mo, _rows, _before, set_calls_before, questions.call_place, "calls")
    mo.vstack([html(pages.calls(_rows, variables)), mo.hstack([newer_calls, older_calls], justify="start")])
    return newer_calls, older_calls


@app.cell
def _(controls, given, mo, page):
    mo.stop(page != controls.READ or "conversation" in given)
    search = controls.search(mo, given)
    search
    return (search,)


@app.cell
def _(mo, scope, search):
    _about = (scope, search.value)
    found_before, set_found_before = mo.state((), allow_self_loops=True)
    return found_before, set_found_before


@app.cell
def _(controls, conversation, given, loading, mo, page, reader, shown, there, variables):
    mo.stop(page != controls.READ or "conversation" not in given)
    loading(mo)
    shown(mo, reader, lambda: conversation(reader, there, variables, given))
    return


@app.cell
def _(
    answered,
    companies,
    controls,
    found_before,
    given,
    html,
    loading,
    mo,
    page,
    pages,
    period,
    questions,
    reader,
    scope,
    search,
    set_found_before,
    there,
    variables,
):
    mo.stop(page != controls.READ)
    loading(mo)
    _criteria = controls.criteria(search.value, given)
    _before = found_before()
    _rows, _failure = answered(
        reader,
        lambda: questions.conversations(reader, scope, _criteria, variables, _before[-1] if _before else None),
    )
    mo.stop(_rows is None, _failure)
    _place = controls.place(period.value, companies.value, _criteria)
    newer, older = controls.paging(mo, _rows, _before, set_found_before, questions.found_place, "conversations")
    mo.vstack(
        [
            html(pages.results(_rows, there.companies, _criteria, _place)),
            mo.hstack([newer, older], justify="start"),
        ]
    )
    return newer, older


if __name__ == "__main__":
    app.run()
