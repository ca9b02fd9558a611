// Lines and columns, as SVG.
const nice = (most) => {
  const step = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((each) => each * step).find((each) => each >= most);
};

// The network's size over time.
const showGrowth = (growth, over, names) => {
  const { when: times, reachable } = growth;
  const enough = times.length > 1;
  $("growth").toggleAttribute("hidden", !enough);
  $("growth-empty").hidden = enough;
  if (!enough) return;
  const most = nice(Math.max(...reachable, 1));
  const [first, last] = [times[0], times[times.length - 1]];
  const point = (value, at) => `${((600 * (times[at] - first)) / (last - first || 1)).toFixed(1)},${(176 - (172 * value) / most).toFixed(1)}`;
  // what was not kept is left out
  const line = (values, kind) =>
    draw("path", { class: `k${kind}`, d: `M${values.map((value, at) => (value === null ? "" : point(value, at))).filter(Boolean).join("L")}` });
  // versions have the kinds that they have in the picture
  const kind = (name, at) => (name === "other" ? 6 : over === "versions" ? Math.max(0, names.indexOf(name)) : at);
  const lines = Object.entries(growth[over]).map(([name, values], at) => [kind(name, at), name, values]);
  $("growth").replaceChildren(
    ...[0, 0.5, 1].map((part) => draw("line", { x1: 0, x2: 600, y1: 176 - 172 * part, y2: 176 - 172 * part })),
    ...lines.map(([kind, , values]) => line(values, kind)),
    draw("path", { d: line(reachable, 0).getAttribute("d"), "stroke-width": 3 }),
  );
  $("growth").setAttribute("aria-label", `from ${reachable[0]} to ${reachable[reachable.length - 1]} nodes`);
  const stroke = (kind, words) => {
    const item = make("li");
    item.append(draw("svg", { viewBox: "0 0 14 14", class: `mark ${kind}`, "aria-hidden": "true" }, draw("path", { d: "M0 7H14", class: "line" })), make("span", "", words));
    return item;
  };
  $("growth-names").replaceChildren(stroke("", `all: ${number.format(reachable[reachable.length - 1])}`), ...lines.map(([kind, name, values]) => stroke(`k${kind}`, `${name}: ${number.format(values[values.length - 1])}`)));
  put($("growth-span"), `0 to ${number.format(most)} nodes, over ${duration(last - first)}`);
};

// How many nodes have how many neighbours.
const showDegrees = (report) => {
  const any = report !== null && report.nodes > 0;
  $("degrees").toggleAttribute("hidden", !any);
  $("degrees-empty").hidden = any;
  if (!any) return;
  const { degrees } = report;
  const last = degrees[degrees.length - 1][0];
  const step = Math.max(1, Math.ceil((last + 1) / 60));
  const counts = new Array(Math.floor(last / step) + 1).fill(0);
  for (const [degree, count] of degrees) counts[Math.floor(degree / step)] += count;
  const most = Math.max(...counts);
  const wide = 600 / counts.length;
  $("degrees").replaceChildren(draw("line", { x1: 0, x2: 600, y1: 179, y2: 179 }), ...counts.map((count, at) =>
    draw("rect", { x: (at * wide + wide * 0.1).toFixed(2), width: (wide * 0.8).toFixed(2), y: (179 - (172 * count) / most).toFixed(2), height: ((172 * count) / most).toFixed(2) },
      draw("title", {}, `${at * step}${step > 1 ? ` to ${at * step + step - 1}` : ""} neighbours: ${plural(count, "node", "nodes")}`))));
  put($("degrees-span"), `0 to ${last} neighbours; at most ${plural(most, "node", "nodes")} have ${step > 1 ? "about as many" : "the same number"}`);
  $("degrees").setAttribute("aria-label", $("degrees-span").textContent);
};
