// Whatever a remote has said is written as text, never as markup: there is no innerHTML here, and the page's policy
// lets a browser refuse it.
(() => {
  const QUIET = 40; // seconds without a sign of life after which the connection counts as lost
  const HIDDEN = 60; // seconds after which a page that nobody sees asks no more
  const ROWS = 25; // rows of the table of nodes, at first
  const CLASSES = 5; // programs with a colour and a shape of their own

  // -- what is known ----------------------------------------------------------------------

  let offset = 0; // the node's clock less ours
  const now = () => Date.now() / 1000 + offset;
  let version = null;
  let data = {};
  const nodes = new Map(); // by name
  const edges = new Map(); // by the names of both ends, a space between
  let list = []; // the nodes in the order of the picture
  let index = new Map();

  const KINDS = { reachable: 0, down: 2, seen: 6 };
  const KIND_WORDS = { reachable: "reachable", down: "down", seen: "only seen by others" };
  const LAGS = [["at the tip", 2], ["within 10 blocks", 10], ["within 100 blocks", 100], ["within 1000 blocks", 1000], ["further behind", Infinity]];
  const programs = () => Object.keys((data.shares || { versions: {} }).versions).filter((name) => name !== "other").slice(0, CLASSES);
  const colourings = {
    version: () => {
      const names = programs();
      const found = new Map(names.map((name, at) => [name, at]));
      return [(node) => found.get(node.agent) ?? 6, [...names.map((name, at) => [at, false, name]), [6, false, "other or unknown"], [0, true, "hollow: not reachable"]]];
    },
    lag: () => [
      (node) => (node.height === null || data.height === null ? 6 : LAGS.findIndex(([, most]) => data.height - node.height <= most)),
      [...LAGS.map(([words], at) => [at, false, words]), [6, false, "unknown"], [0, true, "hollow: not reachable"]],
    ],
    kind: () => [(node) => KINDS[node.kind], Object.entries(KINDS).map(([kind, at]) => [at, kind !== "reachable", KIND_WORDS[kind]])],
  };

  const readNode = (name, row) => {
    const [kind, agent, tall, services, since, country, good] = row;
    return { ...(nodes.get(name) || { x: NaN, y: NaN }), name, kind, agent, height: tall, services, since, country, good };
  };
  const place = (node, x, y) => {
    node.x = x === null ? NaN : x / 10000;
    node.y = y === null ? NaN : y / 10000;
  };
  const load = (whole) => {
    const { nodes: rows, links, ...rest } = whole;
    data = rest;
    nodes.clear();
    edges.clear();
    const names = [];
    for (const [name, ...row] of rows || []) {
      const node = readNode(name, row);
      place(node, row[7], row[8]);
      nodes.set(name, node);
      names.push(name);
    }
    for (let i = 0; i < (links || []).length; i += 3) {
      const [from, to] = [names[links[i]], names[links[i + 1]]];
      edges.set(`${from} ${to}`, { from, to, claims: links[i + 2] });
    }
    version = data.version;
  };
  const change = (event) => {
    const { base, version: next, changed, moved, joined, gone, parted, ...rest } = event;
    data = { ...data, ...rest };
    for (const name of gone) nodes.delete(name);
    for (const [name, ...row] of changed) nodes.set(name, readNode(name, row));
    for (const [name, x, y] of moved) if (nodes.has(name)) place(nodes.get(name), x, y);
    for (const ends of parted) edges.delete(ends.join(" "));
    for (const [from, to, claims] of joined) edges.set(`${from} ${to}`, { from, to, claims });
    version = next;
  };

  // -- the picture ------------------------------------------------------------------------

  let chosen = null; // the name of the node in the panel
  const tip = $("tip");
  const picture = networkCanvas($("canvas"), (at, x, y) => {
    tip.hidden = at < 0;
    if (at < 0) return;
    const node = list[at];
    put(tip, [node.name, node.agent || "no version", `${KIND_WORDS[node.kind]}, ${plural(node.links.length, "neighbour", "neighbours")}`].join("\n"));
    tip.style.left = `${Math.max(4, Math.min(x + 14, $("canvas").clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 16, $("canvas").clientHeight - tip.offsetHeight - 8))}px`;
  }, (at) => choose(at < 0 ? null : list[at].name, false));

  const showPicture = () => {
    list = [...nodes.values()];
    index = new Map(list.map((node, at) => [node.name, at]));
    const count = list.length;
    for (const node of list) node.links = [];
    const [from, to, claims] = [[], [], []];
    for (const edge of edges.values()) {
      const [one, other] = [index.get(edge.from), index.get(edge.to)];
      if (one === undefined || other === undefined) continue;
      list[one].links.push([other, true, edge.claims]);
      list[other].links.push([one, false, edge.claims]);
      if (Number.isNaN(list[one].x) || Number.isNaN(list[other].x)) continue;
      from.push(one);
      to.push(other);
      claims.push(edge.claims);
    }
    const [kindOf, legend] = colourings[$("by").value]();
    picture.show({
      count,
      x: Float32Array.from(list, (node) => node.x),
      y: Float32Array.from(list, (node) => node.y),
      kind: Uint8Array.from(list, kindOf),
      hollow: Uint8Array.from(list, (node) => node.kind !== "reachable"),
      size: Float32Array.from(list, (node) => Math.min(1.7, 0.75 + 0.09 * Math.sqrt(node.links.length))),
      from: Uint32Array.from(from),
      to: Uint32Array.from(to),
      claims: Uint8Array.from(claims),
      names: list.map((node) => node.name),
      links: list.map((node) => node.links),
    });
    picture.select(chosen === null ? -1 : index.get(chosen) ?? -1);
    $("hint").hidden = list.some((node) => !Number.isNaN(node.x)) || version === null;
    put($("hint"), count ? "Drawing the map…" : "No nodes are known yet.");
    $("legend").replaceChildren(...legend.map(([kind, hollow, words]) => {
      const item = make("li");
      item.append(mark(kind, hollow), make("span", "", words));
      return item;
    }));
    showMatches();
  };
  $("by").addEventListener("change", showPicture);
  $("closer").addEventListener("click", () => picture.zoom(1.5));
  $("further").addEventListener("click", () => picture.zoom(1 / 1.5));
  $("all").addEventListener("click", () => picture.reset());

  const matching = () => {
    const wanted = $("search").value.trim().toLowerCase();
    if (!wanted) return [];
    return list.filter((node) => node.name.includes(wanted) || node.agent.toLowerCase().includes(wanted));
  };
  const showMatches = () => {
    const found = matching();
    picture.match(new Set(found.map((node) => index.get(node.name))));
    put($("found"), $("search").value.trim() ? plural(found.length, "node", "nodes") : "");
  };
  $("search").addEventListener("input", () => {
    showMatches();
    showTable();
  });
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [first] = matching();
    if (first) choose(first.name, true);
  });

  // -- one node ---------------------------------------------------------------------------

  const nameButton = (name) => {
    const button = make("button", "name", name);
    button.type = "button";
    button.addEventListener("click", () => choose(name, true));
    return button;
  };
  const when = (at) => (at === null ? "never" : `${duration(now() - at)} ago`);
  const CLAIMS = { 1: "only the one that dialled says so", 2: "only the one that was dialled says so", 3: "both say so" };
  const neighbour = (edge, name) => {
    const outward = edge.from === name;
    const other = outward ? edge.to : edge.from;
    const item = make("li");
    const claims = edge.claimed_by.includes("from") + 2 * edge.claimed_by.includes("to");
    const words = `${outward ? "it dialled" : "dialled by"}: ${CLAIMS[claims]}`;
    item.append(draw("svg", { viewBox: "0 0 22 10", class: outward ? "out" : "in", role: "img", "aria-label": words },
      draw("path", { d: "M1 5H20", fill: "none", stroke: `var(--${outward ? "out" : "in"})`, "stroke-width": 1.6, "stroke-dasharray": claims === 3 ? "none" : "3 2.5" }),
      draw("path", { d: outward ? "M16 1.5 20 5 16 8.5" : "M5 1.5 1 5 5 8.5", fill: "none", stroke: `var(--${outward ? "out" : "in"})`, "stroke-width": 1.6 })));
    item.title = words;
    item.append(nodes.has(other) ? nameButton(other) : make("span", "mono", other));
    item.append(make("small", "", edge.unmatched ? "unknown node" : claims === 3 ? "both say so" : "one says so"));
    return item;
  };
  const showFacts = (node) => {
    const facts = [
      ["Program", node.agent || "–"],
      ["Version", node.version === null ? "–" : String(node.version)],
      ["Services", node.service_names.join(", ") || "none"],
      ["Height", height(node.height)],
      ...(node.country || node.org ? [["Where", [node.country, node.asn === null ? null : `AS${node.asn}`, node.org].filter(Boolean).join(", ")]] : []),
      ["Up since", node.connected_since === null ? "–" : `${new Date(node.connected_since * 1000).toLocaleString()}, for ${duration(now() - node.connected_since)}`],
      ["Answered", when(node.last_success)],
      ["Dialled", when(node.last_attempt)],
      ["First seen", when(node.first_seen)],
      ["Answers in", node.latency === null ? "–" : `${Math.round(node.latency * 1000)} ms`],
      ["Told by", plural(node.sources, "source", "sources")],
      ...(node.reason ? [["Why not listed", node.reason]] : []),
    ];
    $("panel-facts").replaceChildren(...facts.flatMap(([name, words]) => [make("dt", "", name), make("dd", "", words)]));
  };
  const showHours = (spans) => {
    const hours = $("panel-hours");
    hours.hidden = !spans || spans.length === 0;
    if (hours.hidden) return;
    const latest = spans.slice(-168);
    const wide = 100 / latest.length;
    hours.replaceChildren(draw("svg", { viewBox: "0 0 100 22", preserveAspectRatio: "none", "aria-hidden": "true" },
      ...latest.map(([, visits, successes], at) => {
        const share = visits ? successes / visits : 0;
        return draw("rect", { x: at * wide, width: Math.max(0.2, wide - 0.15), y: 20 - 20 * share, height: Math.max(1, 20 * share), fill: `var(--${share > 0.5 ? "ok" : "bad"})` });
      })));
    const [visits, successes] = [1, 2].map((at) => latest.reduce((sum, span) => sum + span[at], 0));
    hours.setAttribute("aria-label", `${successes} of ${visits} visits succeeded since ${new Date(latest[0][0] * 1000).toLocaleString()}`);
    hours.title = hours.getAttribute("aria-label");
  };
  const WINDOWS = { "2h": "2 hours", "8h": "8 hours", "1d": "a day", "1w": "a week", "1month": "a month" };
  const fill = async (name) => {
    let node;
    try {
      const answer = await fetch(`map/node.json?name=${encodeURIComponent(name)}`);
      if (!answer.ok) return;
      node = await answer.json();
    } catch {
      return;
    }
    if (name !== chosen) return;
    showFacts(node);
    $("panel-up").replaceChildren(...Object.entries(node.reliability).map(([span, share]) => {
      const item = bar(`last ${WINDOWS[span] || span}`, 0, 1);
      put(item.children[1], percent(share, 1));
      item.querySelector("rect").setAttribute("width", (100 * share).toFixed(1));
      return item;
    }));
    if (!$("panel-up").children.length) $("panel-up").append(make("li", "muted", "It was never visited."));
    showHours(node.history);
    put($("panel-count"), node.edge_count > node.edges.length ? `${node.edges.length} of ${node.edge_count}` : String(node.edge_count));
    $("panel-edges").replaceChildren(...node.edges.map((edge) => neighbour(edge, name)));
  };
  let filled = 0;
  const choose = (name, goes) => {
    if (name !== null && !nodes.has(name)) return;
    const other = name !== chosen;
    chosen = name;
    $("panel").hidden = name === null;
    picture.select(name === null ? -1 : index.get(name) ?? -1);
    if (name === null) return;
    const node = nodes.get(name);
    put($("panel-title"), name);
    $("panel-kind").replaceChildren(mark(KINDS[node.kind], node.kind !== "reachable"), ` ${KIND_WORDS[node.kind]}${node.good ? ", recommended to others" : ""}`);
    $("panel-kind").firstChild.setAttribute("width", 12);
    if (other) {
      for (const id of ["panel-facts", "panel-up", "panel-edges"]) $(id).replaceChildren();
      put($("panel-count"), "");
      $("panel-hours").hidden = true;
      $("panel").scrollTop = 0;
    }
    if (goes) requestAnimationFrame(() => picture.goTo(index.get(name) ?? -1));
    if (other || Date.now() - filled > 5000) {
      filled = Date.now();
      fill(name);
    }
  };
  $("panel-close").addEventListener("click", () => {
    choose(null, false);
    $("canvas").focus();
  });

  // -- numbers, bars, lines ---------------------------------------------------------------

  const median = (degrees, count) => {
    let seen = 0;
    for (const [degree, many] of degrees) {
      seen += many;
      if (seen * 2 >= count) return degree;
    }
    return null;
  };
  const showTotals = () => {
    put($("network"), data.network);
    $("network").hidden = false;
    put($("t-nodes"), number.format(data.reachable));
    put($("t-known"), `${number.format(data.known)} addresses known`);
    put($("t-edges"), number.format(data.edges));
    put($("t-confirmed"), data.edges ? `${percent(data.confirmed, data.edges)} confirmed by both` : "none yet");
    put($("t-height"), height(data.height));
    const tip = data.shares.heights["at the tip"] || 0;
    put($("t-tip"), data.height === null ? "nobody has blocks" : `${percent(tip, data.reachable)} at the tip`);
    const report = data.report;
    put($("t-degree"), report && report.nodes ? String(median(report.degrees, report.nodes)) : "–");
    put($("t-parts"), report ? number.format(report.component_count) : "–");
    put($("t-largest"), report && report.nodes ? `${percent(report.components[0], report.nodes)} in the largest` : "\u00a0");
    put($("t-eclipse"), report ? number.format(report.eclipse_candidate_count) : "–");
    put($("t-cuts"), report ? plural(report.articulation_point_count, "cut point", "cut points") : "\u00a0");
    put($("line"), `${plural(data.reachable, "node", "nodes")}, ${plural(data.edges, "connection", "connections")}, as the nodes themselves say`);
    put($("when"), `Map of ${new Date(data.when * 1000).toLocaleString()}`);
    document.title = `${plural(data.reachable, "node", "nodes")} · ${data.network} · soter map`;
  };
  const showLines = () => showGrowth(data.growth, $("over").value, programs());
  $("over").addEventListener("change", showLines);
  const showShares = () => {
    for (const name of ["versions", "services", "heights"]) {
      const rows = Object.entries(data.shares[name]);
      $(name).replaceChildren(...rows.map(([words, count]) => bar(words, count, data.reachable)));
      if (!rows.length) $(name).append(make("li", "muted", "Nothing yet."));
    }
  };
  // -- tables -----------------------------------------------------------------------------

  const cells = (...content) => {
    const row = make("tr");
    row.setAttribute("role", "row");
    content.forEach(([kind, words, label], at) => {
      const cell = make(at ? "td" : "th", kind);
      cell.setAttribute("role", at ? "cell" : "rowheader");
      if (!at) cell.scope = "row";
      if (label) cell.dataset.label = label;
      cell.append(...[words].flat());
      row.append(cell);
    });
    return row;
  };
  const count = (id, total) => {
    const title = $(id);
    if (!title.lastElementChild) title.append(make("span", "count"));
    put(title.lastElementChild, total ? number.format(total) : "");
  };
  const fillTable = (id, rows) => {
    const body = $(`${id}-rows`);
    // what has the focus keeps it: the table is made anew when that has left it
    if (body.contains(document.activeElement)) return;
    body.replaceChildren(...rows);
    body.parentElement.hidden = rows.length === 0;
    $(`${id}-empty`).hidden = rows.length !== 0;
  };
  const known = (name) => (nodes.has(name) ? nameButton(name) : make("span", "mono", name));
  const showReport = () => {
    const report = data.report || { eclipse_candidates: [], articulation_points: [] };
    fillTable("eclipse", report.eclipse_candidates.slice(0, 12).map(([name, group, behind, many]) => {
      const why = [];
      if (group !== null) why.push(`all its neighbours are in ${group}${behind === null ? "" : "; "}`);
      if (behind !== null) why.push("reached only by way of ", known(behind));
      return cells(["", known(name)], ["", why], ["num", number.format(many)]);
    }));
    fillTable("cuts", report.articulation_points.slice(0, 12).map(([name, many]) => cells(["", known(name)], ["num", plural(many, "node", "nodes")])));
    count("eclipse-title", report.eclipse_candidate_count || 0);
    count("cuts-title", report.articulation_point_count || 0);
  };

  let most = ROWS;
  let sorting = ["degree", -1]; // the field, and 1 for the smallest first
  const VALUES = { degree: (node) => node.links.length, since: (node) => (node.since === null ? null : -node.since) };
  const showTable = () => {
    const [field, sign] = sorting;
    const value = VALUES[field] || ((node) => node[field]);
    const found = $("search").value.trim() ? matching() : list;
    // nothing known comes last, whichever way
    const compare = (a, b) => (a === b ? 0 : a === null || a === "" ? 1 : b === null || b === "" ? -1 : sign * (a < b ? -1 : 1));
    const sorted = found.map((node) => [value(node), node]).sort(([a, one], [b, other]) => compare(a, b) || (one.name < other.name ? -1 : 1));
    fillTable("nodes", sorted.slice(0, most).map(([, node]) => cells(
      ["", nameButton(node.name)],
      ["agent", node.agent || "–"],
      ["state", [mark(KINDS[node.kind], node.kind !== "reachable"), KIND_WORDS[node.kind]]],
      ["num", height(node.height), "Height"],
      ["num", number.format(node.links.length), "Neighbours"],
      ["wide", node.services || "–"],
      ["num", node.since === null ? "–" : duration(now() - node.since), "Up for"],
    )));
    put($("nodes-empty"), version === null ? "Waiting for the first map…" : list.length ? "No node is like that." : "No nodes are known yet.");
    const rest = Math.max(0, found.length - most);
    $("nodes-more").hidden = !rest && !data.not_shown;
    put($("nodes-rest"), `and ${plural(rest + (data.not_shown || 0), "node", "nodes")} more`);
    $("nodes-further").hidden = !rest || most >= 1000;
    count("nodes-title", found.length);
  };
  for (const head of document.querySelectorAll("[data-sort]")) {
    head.firstElementChild.addEventListener("click", () => {
      const field = head.dataset.sort;
      const first = ["degree", "height", "since"].includes(field) ? -1 : 1;
      sorting = sorting[0] === field ? [field, -sorting[1]] : [field, first];
      markSorting();
      showTable();
    });
  }
  $("nodes-further").addEventListener("click", () => {
    most *= 2;
    showTable();
  });
  const markSorting = () => {
    for (const head of document.querySelectorAll("[data-sort]")) {
      if (head.dataset.sort === sorting[0]) head.setAttribute("aria-sort", sorting[1] > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };
  markSorting();

  let said = null;
  const render = () => {
    showPicture();
    if (data.shares === undefined) return;
    showTotals();
    showShares();
    showLines();
    showDegrees(data.report);
    showReport();
    showTable();
    if (chosen !== null) choose(nodes.has(chosen) ? chosen : null, false);
    const words = plural(data.reachable, "node", "nodes");
    if (said !== null && said !== words) put($("news"), words);
    said = words;
  };

  // -- the connection ---------------------------------------------------------------------

  let source = null;
  let heard = 0; // when something came last, or the connection was begun anew, in milliseconds
  let told = 0; // when something came last
  let wait = 2;
  let again = null;
  let loading = null;
  let newest = 0; // the version that was last heard of
  let isOurs = false; // whether what is shown came by way of this connection, so that its events fit
  const link = (state, words) => {
    document.body.dataset.link = state;
    put($("link-text"), words);
    const lost = $("lost");
    lost.hidden = state !== "lost";
    if (state === "lost") {
      const from = version === null ? "" : ` What you see is from ${new Date(told).toLocaleTimeString()}.`;
      put(lost, `${version === null ? "The node does not answer" : "Connection lost"}. Reconnecting…${from}`);
    }
  };
  const alive = () => {
    heard = told = Date.now();
    wait = 2;
    if (version !== null) link("live", "Live");
  };
  const loadAll = async () => {
    if (loading !== null) return;
    loading = fetch("map.json").then((answer) => answer.json());
    try {
      const whole = await loading;
      offset = whole.now - Date.now() / 1000;
      load(whole);
      isOurs = true;
      render();
      alive();
    } catch {
      link("lost", "Reconnecting…");
    } finally {
      loading = null;
    }
    // an event came while the whole was on its way
    if (version !== null && version < newest && document.body.dataset.link === "live") setTimeout(loadAll, 1000);
  };
  const close = () => {
    clearTimeout(again);
    if (source !== null) source.close();
    source = null;
  };
  const open = () => {
    close();
    heard = Date.now();
    source = new EventSource("map/events");
    // another process may be there now, which counts from one again
    source.addEventListener("open", () => {
      isOurs = false;
    });
    source.addEventListener("message", (event) => {
      const news = JSON.parse(event.data);
      newest = news.version;
      if (!isOurs || (news.version !== version && news.base !== version)) {
        loadAll();
      } else if (news.base === version) {
        change(news);
        render();
      }
      alive();
    });
    source.addEventListener("beat", alive);
    source.addEventListener("error", () => {
      link("lost", "Reconnecting…");
      // a browser does not come again by itself to one who has answered, and refused
      if (source.readyState === EventSource.CLOSED) retry();
    });
  };
  const retry = () => {
    close();
    again = setTimeout(open, wait * 1000);
    wait = Math.min(30, wait * 2);
  };
  setInterval(() => {
    if (document.hidden) return;
    if (source !== null && Date.now() - heard > QUIET * 1000) {
      link("lost", "Reconnecting…");
      open();
    }
  }, 1000);
  let hiding = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN * 1000);
    else if (source === null) open();
    else heard = Date.now();
  });
  // beside a status page
  $("back").hidden = !location.pathname.endsWith("/map");
  // for whoever measures how fluid it is
  window.soterMap = { picture, choose };
  open();
})();
