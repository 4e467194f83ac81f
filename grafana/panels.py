"""Makes the panels and variables of the dashboards, with one look for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "invoke-gateway"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")

# To one function's dashboard, from a series that has its labels; what else is chosen goes along.
TO_FUNCTION = (
    "/d/invoke-gateway-function?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    "&var-account=${__field.labels.account}&var-function=${__field.labels.function}&${__url_time_range}"
)

GREEN, YELLOW, RED = "green", "yellow", "red"

# A value and the colour from there on; below the first it is green.
Steps = Sequence[tuple[float, str]]
FULL: Steps = ((0.75, YELLOW), (0.9, RED))
"""Of what may be used up, as the alerts have it."""


class Query(NamedTuple):
    """Holds PromQL, and the legend of its series."""

    expr: str
    legend: str


def single(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    span: int = 3,
    steps: Steps = (),
    below: str | None = None,
    words: dict[str, tuple[str, str]] | None = None,
    names: bool = False,
    no_value: str = "–",
) -> Builder[Panel]:
    """Shows the latest value in large. `words` replaces values by a word and a colour; with `names` the legend is shown
    instead of the value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(4)
        .unit(unit)
        .thresholds(_thresholds(steps, below or (GREEN if steps else "text")))
        .color_mode(BigValueColorMode.BACKGROUND if steps else BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.NAME if names else BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value(no_value)
        .targets(_targets(queries))
        .datasource(PROMETHEUS)
    )
    if words:
        panel.mappings([ValueMap({value: ValueMappingResult(word, color) for value, (word, color) in words.items()})])
    return panel


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    span: int = 12,
    stacked: bool = False,
    steps: Steps = (),
    to_function: bool = False,
    highest: float | None = None,
) -> Builder[Panel]:
    """Values over time. Series whose names begin with `limit` are dashed and red; `steps` are drawn as lines;
    `to_function` links each series, which must have the labels account and function, to that function's dashboard."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(8)
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .thresholds(_thresholds(steps))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(_legend())
        .override_by_regexp("/^limit/", _dashed())
        .targets(_targets(queries))
        .datasource(PROMETHEUS)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if to_function:
        panel.data_links([_to_function()])
    if highest is not None:
        panel.axis_soft_max(highest)
    return panel


def ranking(title: str, description: str, unit: str, query: Query, *, span: int = 12) -> Builder[Panel]:
    """Bars, one for each function, over the whole time that is shown."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(8)
        .unit(unit)
        .min(0)
        .thresholds(_thresholds(((1, YELLOW),)))
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none")
        .data_links([_to_function()])
        .targets([_target(query, "A").instant()])
        .datasource(PROMETHEUS)
    )


def heat(title: str, description: str, histogram: str, *, span: int = 12) -> Builder[Panel]:
    """How many observations of `histogram`, a selector of its buckets in seconds, fell into which bucket when."""
    query = Query(f"sum by (le) (increase({histogram}[$__rate_interval]))", "{{le}}")
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(8)
        .unit(units.Seconds)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(units.Seconds))
        .cell_values(heatmap.CellValues().unit(units.Short).decimals(0))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_y_histogram()
        .show_legend()
        .targets([_target(query, "A").range().format(PromQueryFormat.HEATMAP)])
        .datasource(PROMETHEUS)
    )


def choice(name: str, label: str, values: str, *, several: bool = False) -> Any:
    """Makes a variable of the values of the label `name` on the series of the selector `values`."""
    query = f"label_values({values}, {name})"
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"qryType": 1, "query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        variable.all_value(".*").current(VariableOption(selected=True, text="All", value="$__all"))
    return variable


def make_dashboard(
    uid: str, title: str, description: str, variables: Sequence[Any], rows: Sequence[tuple[str, Sequence[Any]]]
) -> dashboard.Dashboard:
    """`rows` are titles with their panels, from the top and from the left; a row without a title has no heading.

    Every dashboard can choose among data sources, jobs and gateways, and leads to the others.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Invoke Gateway")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(choice("job", "Job", "invoke_gateway_build_info"))
        .with_variable(choice("instance", "Gateway", 'invoke_gateway_build_info{job="$job"}', several=True))
    )
    for variable in variables:
        made.with_variable(variable)
    number = 0
    for heading, panels in rows:
        if heading:
            number += 1
            made.with_row(dashboard.Row(heading).id(number))
        for panel in panels:
            number += 1
            made.with_panel(panel.id(number))
    return made


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(PROMETHEUS)


def _targets(queries: Sequence[Query]) -> list[Any]:
    return [_target(query, chr(ord("A") + place)).range() for place, query in enumerate(queries)]


def _thresholds(steps: Steps, below: str = GREEN) -> dashboard.ThresholdsConfig:
    all_steps = [Threshold(None, below), *(Threshold(value, color) for value, color in steps)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(all_steps)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
        .sort_by("Max")
        .sort_desc(True)
    )


def _dashed() -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
        DynamicConfigValue("custom.fillOpacity", 0),
        DynamicConfigValue("custom.stacking", {"mode": "none"}),
        DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": RED}),
    ]


def _to_function() -> dashboard.DashboardLink:
    return dashboard.DashboardLink("This function").url(TO_FUNCTION)
