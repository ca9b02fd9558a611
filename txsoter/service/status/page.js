"use strict";
// Whatever a remote has said is written as text, never as markup: there is no innerHTML here, and the page's policy
// lets a browser refuse it.
(() => {
  const QUIET = 40; // seconds without a sign of life after which the connection counts as lost
  const HIDDEN = 60; // seconds after which a page that nobody sees asks no more
  const POINTS = 36; // samples that a sparkline is wide
  const $ = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");

  // -- words for numbers ------------------------------------------------------------------

  const units = (value, names, step) => {
    let index = 0;
    while (value >= step * 0.9995 && index < names.length - 1) {
      value /= step;
      index += 1;
    }
    const digits = index === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return `${value.toFixed(digits)} ${names[index]}`;
  };
  const bytes = (value) => units(value, ["B", "kB", "MB", "GB", "TB"], 1000);
  const rate = (value) => `${bytes(value)}/s`;
  const micros = (value) => {
    if (value === null) return "–";
    if (value < 950) return "<1 ms";
    return value < 999500 ? `${Math.round(value / 1000)} ms` : `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} s`;
  };
  const duration = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  };
  const ago = (seconds) => (seconds < 1.5 ? "just now" : `${duration(seconds)} ago`);
  const within = (seconds) => (seconds <= 0 ? "now" : `in ${duration(seconds)}`);
  const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;
  const height = (value) => (value === null || value < 0 ? "–" : number.format(value));
  const last = (list) => (list.length ? list[list.length - 1] : null);

  // -- writing what has changed, and no more ----------------------------------------------

  const put = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const attribute = (node, name, value) => {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  };
  const make = (name, kind, text) => {
    const node = document.createElement(name);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  let offset = 0; // the node's clock less ours
  const now = () => Date.now() / 1000 + offset;
  const clocks = new Map(); // what tells how long ago something was: from node to time and words
  const tell = (node, at, words) => {
    if (at === null || at === undefined) {
      clocks.delete(node);
      put(node, "–");
      return;
    }
    clocks.set(node, [at, words]);
    put(node, words(at));
    const title = new Date(at * 1000).toLocaleString();
    if (node.title !== title) node.title = title;
  };
  const since = (at) => ago(now() - at);
  const age = (at) => duration(now() - at);
  const until = (at) => within(at - now());
  const tick = () => {
    for (const [node, [at, words]] of clocks) {
      if (node.isConnected) put(node, words(at));
      else clocks.delete(node);
    }
  };

  const rowFrom = (id) => {
    const row = $(id).content.firstElementChild.cloneNode(true);
    const fields = { row };
    for (const node of row.querySelectorAll("[data-f]")) fields[node.dataset.f] = node;
    return fields;
  };
  // Rows by key: those that stay keep their place in the page, and with it focus and selection.
  const rows = (bodyId, emptyId, keyOf, create, update) => {
    const body = $(bodyId);
    const known = new Map();
    let first = true;
    return (items) => {
      const keys = new Set(items.map(keyOf));
      for (const [key, fields] of known) {
        if (!keys.has(key)) {
          fields.row.remove();
          known.delete(key);
        }
      }
      let before = body.firstElementChild;
      for (const item of items) {
        const key = keyOf(item);
        let fields = known.get(key);
        if (!fields) {
          fields = create(item);
          if (!first) fields.row.classList.add("new");
          known.set(key, fields);
        }
        update(fields, item);
        if (fields.row === before) before = before.nextElementSibling;
        else body.insertBefore(fields.row, before);
      }
      first = false;
      body.parentElement.hidden = items.length === 0;
      $(emptyId).hidden = items.length !== 0;
    };
  };

  // -- sparklines -------------------------------------------------------------------------

  const HIGH = 30;
  const draw = (path, list, most, wide, closed) => {
    if (list.length < 2) {
      attribute(path, "d", "");
      return;
    }
    const points = list.map((value, index) => {
      const x = 100 - ((list.length - 1 - index) * 100) / (wide - 1);
      const y = HIGH - 1.5 - (most ? (value / most) * (HIGH - 4) : 0);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    const start = points[0].split(",")[0];
    attribute(path, "d", closed ? `M${start},${HIGH}L${points.join("L")}L100,${HIGH}Z` : `M${points.join("L")}`);
  };
  const spark = (svg, ...series) => {
    // below a hundred bytes a second all is quiet, and looks so
    const most = Math.max(100, ...series.flat());
    const paths = svg.querySelectorAll("path");
    draw(paths[0], series[0], most, POINTS, true);
    series.forEach((list, index) => draw(paths[index + 1], list, most, POINTS, false));
  };

  // -- the parts of the page --------------------------------------------------------------

  const remote = (fields, each) => {
    put(fields.agent, each.agent_name || "unknown agent");
    put(fields.address, each.address);
    if (fields.way) {
      const inbound = each.direction === "inbound";
      fields.way.classList.toggle("inbound", inbound);
      put(fields.direction, inbound ? "in" : "out");
      fields.way.title = inbound ? "inbound: it has dialled us" : "outbound: we have dialled it";
    }
  };

  const showPeers = rows("peer-rows", "peers-empty", (peer) => peer.id, () => rowFrom("peer-row"), (f, peer) => {
    remote(f, peer);
    attribute(f.agent, "title", peer.agent);
    f.state.hidden = peer.state === "ready";
    put(f.state, peer.state);
    put(f.services, peer.services.join(", ") || "none");
    put(f.height, height(peer.protocol_version === null ? null : peer.height));
    put(f.trip, micros(peer.round_trip_micros));
    const trips = peer.history.round_trip_micros;
    draw(f.trips.firstElementChild, trips, Math.max(...trips), Math.max(trips.length, 2), false);
    put(f.received, bytes(peer.bytes_received));
    put(f.sent, bytes(peer.bytes_sent));
    const { received, sent } = peer.history;
    put(f.receiving, received.length ? rate(last(received)) : "");
    put(f.sending, sent.length ? rate(last(sent)) : "");
    spark(f.past, received, sent);
    const spoken = received.length ? `receiving ${rate(last(received))}, sending ${rate(last(sent))}` : "no samples yet";
    attribute(f.past, "aria-label", spoken);
    tell(f.age, peer.connected_at, age);
  });

  let ready = 0;
  const seenRow = () => rowFrom("seen-row");
  const showSeen = (f, seen) => {
    put(f.head, seen.hash.slice(0, -8));
    put(f.tail, seen.hash.slice(-8));
    attribute(f.hash, "title", seen.hash);
    put(f.height, height(seen.height));
    remote(f, seen.first);
    put(f.followed, seen.followed ? plural(seen.followed, "peer", "peers") : "nobody");
    const { median_delay: half, last_delay: end } = seen;
    const seconds = (value) => micros(value * 1e6);
    put(f.late, half === null ? "" : seen.followed === 1 ? seconds(half) : `${seconds(half)} – ${seconds(end)}`);
    f.late.title = half === null || seen.followed === 1 ? "" : `half of them within ${seconds(half)}, all within ${seconds(end)}`;
    tell(f.when, seen.first_at, since);
  };
  const showBlocks = rows("block-rows", "blocks-empty", (seen) => seen.hash, seenRow, showSeen);
  const txRow = () => {
    const fields = seenRow();
    fields.height.remove();
    return fields;
  };
  const showTxs = rows("tx-rows", "txs-empty", (seen) => seen.hash, txRow, showSeen);

  const closeKey = (close) => `${close.id} ${close.cause}`;
  const showCloses = rows("close-rows", "closes-empty", closeKey, () => rowFrom("close-row"), (f, close) => {
    remote(f, close);
    put(f.why, close.why);
    put(f.detail, close.detail);
    f.times.hidden = close.times < 2;
    put(f.times, `× ${number.format(close.times)}`);
    put(f.lasted, duration(close.seconds));
    tell(f.when, close.at, since);
  });

  const list = (id, items, fill) => {
    const section = $(id);
    section.hidden = items === null;
    if (items === null) return;
    const ul = section.querySelector("ul");
    section.querySelector(".empty").hidden = items.length !== 0;
    ul.hidden = items.length === 0;
    // short, and rarely another: made anew when it is
    const said = JSON.stringify(items);
    if (ul.said === said) return;
    ul.said = said;
    ul.replaceChildren(...items.map((item) => {
      const li = make("li");
      fill(li, item);
      return li;
    }));
  };
  const STATES = { connected: "ok", ready: "ok", connecting: "warn", waiting: "warn", "given up": "bad" };
  const showDialled = (li, each) => {
    const name = make("span", "mono", each.name);
    if (each.detail) name.append(make("small", "muted", each.detail));
    const state = make("span", "muted", each.state);
    if (each.retry_at !== null) {
      const when = make("small");
      tell(when, each.retry_at, until);
      state.append(when);
    }
    li.append(make("span", `dot ${STATES[each.state] || ""}`), name, state);
  };
  const showBan = (li, each) => {
    const who = make("span", "mono", each.address);
    if (each.reason) who.append(make("small", "muted", each.reason));
    const when = make("span", "muted");
    if (each.until === null) put(when, "for good");
    else tell(when, each.until, (at) => `for ${duration(at - now())}`);
    li.append(who, when);
  };

  const showCapture = (li, [name, value, dot]) => {
    if (dot) li.append(make("span", `dot ${dot}`));
    li.append(make("span", "", name), make("span", dot ? "muted" : "", value));
  };
  const captureRows = ({ reason, stored, waiting, dropped }) => [
    reason === null ? ["recording", "", "ok"] : ["stopped", reason, "bad"],
    ["on the disk", bytes(stored)],
    ["not written yet", bytes(waiting)],
    ["reads and writes left out", number.format(dropped)],
  ];

  let peersSaid = null;
  const showTotals = (data) => {
    const { node, totals } = data;
    ready = totals.peers;
    put($("node-name"), node.agent_name);
    $("map-link").hidden = !data.map;
    put($("network"), node.network);
    $("network").hidden = false;
    const own = node.height === null ? "" : ` · height ${height(node.height)}`;
    put($("node-line"), `protocol ${node.protocol_version} · services ${node.services.join(", ") || "none"}${own}`);
    put($("agent"), node.agent);
    put($("t-peers"), number.format(ready));
    const making = totals.connecting ? ` · ${totals.connecting} connecting` : "";
    put($("t-ways"), `${totals.outbound} out · ${totals.inbound} in${making}`);
    put($("t-height"), height(totals.height));
    if (data.blocks.length) tell($("t-block"), data.blocks[0].first_at, (at) => `block ${since(at)}`);
    else put($("t-block"), "no block announced yet");
    put($("t-trip"), micros(totals.round_trip_micros));
    const { received, sent } = totals.history;
    put($("t-in"), received.length ? rate(last(received)) : "–");
    put($("t-out"), sent.length ? rate(last(sent)) : "–");
    put($("t-in-all"), `${bytes(totals.bytes_received)} in all`);
    put($("t-out-all"), `${bytes(totals.bytes_sent)} in all`);
    spark($("t-in-spark"), received);
    spark($("t-out-spark"), sent);
    tell($("t-up"), node.started_at, age);
    put($("t-connections"), `${plural(totals.connections, "connection", "connections")}`);
    const said = plural(ready, "peer", "peers");
    if (peersSaid !== null && said !== peersSaid) put($("news"), said);
    peersSaid = said;
    document.title = `${said} · ${node.network} · soter`;
  };

  let sorting = null; // the field, and 1 for the smallest first
  const sorted = (peers) => {
    if (sorting === null) return peers;
    const [field, sign] = sorting;
    // nothing known comes last, whichever way
    const compare = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a < b ? -1 : 1));
    return [...peers].sort((a, b) => compare(a[field], b[field]));
  };

  let data = null;
  const count = (id, total) => {
    const title = $(id);
    if (!title.lastElementChild) title.append(make("span", "count"));
    put(title.lastElementChild, total ? number.format(total) : "");
  };
  const render = () => {
    showTotals(data);
    put($("peers-empty"), "No peers yet. They appear here as soon as one is connected.");
    showPeers(sorted(data.peers));
    count("peers-title", data.peers.length + data.peers_not_shown);
    $("peers-more").hidden = data.peers_not_shown === 0;
    put($("peers-more"), `and ${plural(data.peers_not_shown, "peer", "peers")} more`);
    showBlocks(data.blocks);
    count("blocks-title", data.totals.blocks);
    showTxs(data.transactions);
    count("txs-title", data.totals.transactions);
    showCloses(data.closes);
    count("closes-title", data.totals.closes);
    const causes = Object.entries(data.causes).map(([cause, times]) => `${cause.replaceAll("_", " ")} ${times}`);
    $("causes").hidden = causes.length < 2;
    $("causes").replaceChildren(...causes.map((words) => make("li", "chip", words)));
    list("dialled", data.dialled, showDialled);
    list("listening", data.listening, (li, each) => li.append(make("span", "mono", each)));
    list("bans", data.bans, showBan);
    list("capture", data.capture && captureRows(data.capture), showCapture);
    list("book", data.book && Object.entries(data.book), (li, [name, value]) => {
      li.append(make("span", "", name), make("span", "", number.format(value)));
    });
  };

  for (const head of document.querySelectorAll("[data-sort]")) {
    head.firstElementChild.addEventListener("click", () => {
      const field = head.dataset.sort;
      const signs = field === "agent_name" || field === "connected_at" ? [1, -1] : [-1, 1];
      const step = sorting !== null && sorting[0] === field ? signs.indexOf(sorting[1]) + 1 : 0;
      sorting = step < 2 ? [field, signs[step]] : null;
      for (const other of document.querySelectorAll("[data-sort]")) other.removeAttribute("aria-sort");
      if (sorting !== null) head.setAttribute("aria-sort", sorting[1] > 0 ? "ascending" : "descending");
      if (data !== null) render();
    });
  }

  // -- the connection ---------------------------------------------------------------------

  let source = null;
  let heard = 0; // when something came last, or the connection was begun anew, in milliseconds
  let told = 0; // when something came last
  let wait = 2;
  let again = null;
  const link = (state, words) => {
    document.body.dataset.link = state;
    put($("link-text"), words);
    const lost = $("lost");
    lost.hidden = state !== "lost";
    if (state === "lost") {
      const from = data === null ? "" : ` What you see is from ${new Date(told).toLocaleTimeString()}.`;
      put(lost, `${data === null ? "The node does not answer" : "Connection lost"}. Reconnecting…${from}`);
    }
  };
  const alive = () => {
    heard = told = Date.now();
    wait = 2;
    link("live", "Live");
  };
  const close = () => {
    clearTimeout(again);
    if (source !== null) source.close();
    source = null;
  };
  const open = () => {
    close();
    heard = Date.now();
    source = new EventSource("events");
    source.addEventListener("message", (event) => {
      data = JSON.parse(event.data);
      offset = data.now - Date.now() / 1000;
      render();
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
    tick();
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
  open();
})();
