"use strict";
// The picture of the map, on a plain canvas. Panning and zooming move the last picture, and a new one is drawn behind
// it a few milliseconds at a time: a frame costs the same, however many edges there are.
const SHAPES = [
  "M-1 0A1 1 0 1 0 1 0A1 1 0 1 0-1 0Z", // a circle
  "M-.9-.9H.9V.9H-.9Z",
  "M0-1.25 1.25 0 0 1.25-1.25 0Z",
  "M0-1.2 1.15.85H-1.15Z",
  "M0 1.2 1.15-.85H-1.15Z",
  "M-.4-1.15H.4V-.4H1.15V.4H.4V1.15H-.4V.4H-1.15V-.4H-.4Z",
  "M-.65 0A.65.65 0 1 0 .65 0A.65.65 0 1 0-.65 0Z", // of what is in no class of its own: a smaller circle
];

const networkCanvas = (canvas, onHover, onSelect) => {
  const SLICE = 6; // milliseconds of a frame in which the next picture is drawn
  const MARGIN = 0.25; // of the window, that is drawn on each side of it
  const IDLE = 140; // milliseconds without movement before a picture that takes long is drawn
  const context = canvas.getContext("2d");
  let graph = { count: 0, x: [], y: [], kind: [], hollow: [], size: [], from: [], to: [], claims: [], names: [], links: [] };
  let width = 1;
  let height = 1;
  let ratio = 1;
  let view = null; // scale and offset, in CSS pixels
  let hovered = -1;
  let selected = -1;
  let matches = new Set();
  let colors = {};
  let picture = { canvas: document.createElement("canvas"), view: null };
  let spare = document.createElement("canvas");
  let job = null;
  let cost = 0; // milliseconds that the last picture took
  let moved = 0;
  let frame = null;
  let wanted = true;

  // -- where things are -------------------------------------------------------------------

  const sx = (index) => graph.x[index] * view.scale + view.x;
  const sy = (index) => graph.y[index] * view.scale + view.y;
  const fitted = () => {
    let reach = 0.2;
    for (let i = 0; i < graph.count; i += 1) {
      const r = Math.hypot(graph.x[i], graph.y[i]);
      if (r > reach) reach = r;
    }
    const scale = (Math.min(width, height) / 2 - 14) / reach;
    return { scale, x: width / 2, y: height / 2 };
  };
  const radius = (index) => {
    const base = Math.min(6, Math.max(1.5, (75 * Math.min(1, Math.min(width, height) / 560)) / Math.sqrt(graph.count + 1)));
    const closer = Math.min(3, Math.max(1, Math.sqrt(view.scale / fit.scale)));
    return Math.min(11, base * closer * graph.size[index]);
  };
  let fit = { scale: 1, x: 0, y: 0 };

  // which nodes are in which square, for what is under the pointer
  let squares = new Map();
  const SQUARES = 64;
  const square = (x, y) => Math.floor(x * SQUARES) * 4096 + Math.floor(y * SQUARES);
  const sortIntoSquares = () => {
    squares = new Map();
    for (let i = 0; i < graph.count; i += 1) {
      if (Number.isNaN(graph.x[i])) continue;
      const key = square(graph.x[i], graph.y[i]);
      const list = squares.get(key);
      if (list) list.push(i);
      else squares.set(key, [i]);
    }
  };
  const at = (px, py) => {
    if (!view) return -1;
    const reach = 14;
    const [left, top] = [(px - reach - view.x) / view.scale, (py - reach - view.y) / view.scale];
    const side = (2 * reach) / view.scale;
    const steps = Math.min(24, Math.ceil(side * SQUARES) + 1);
    let best = -1;
    let least = reach * reach;
    for (let i = 0; i <= steps; i += 1) {
      for (let j = 0; j <= steps; j += 1) {
        const list = squares.get(square(left + i / SQUARES, top + j / SQUARES));
        for (const index of list || []) {
          const d = (sx(index) - px) ** 2 + (sy(index) - py) ** 2;
          if (d < least) [best, least] = [index, d];
        }
      }
    }
    return best;
  };

  // -- drawing ----------------------------------------------------------------------------

  const paths = SHAPES.map((d) => new Path2D(d));
  const sprites = new Map();
  const sprite = (kind, hollow, r) => {
    const size = Math.max(1, Math.round(r * ratio * 2) / 2);
    const key = `${kind} ${hollow} ${size}`;
    let made = sprites.get(key);
    if (!made) {
      made = document.createElement("canvas");
      const half = Math.ceil(size * 1.3) + 2;
      made.width = made.height = 2 * half;
      const pen = made.getContext("2d");
      pen.translate(half, half);
      pen.scale(size, size);
      const line = Math.max(1.1, ratio * 1.2) / size;
      if (hollow) {
        pen.fillStyle = colors.card;
        pen.fill(paths[kind]);
        pen.strokeStyle = colors.kinds[kind];
        pen.lineWidth = Math.max(line, 0.3);
        pen.stroke(paths[kind]);
      } else {
        pen.fillStyle = colors.kinds[kind];
        pen.fill(paths[kind]);
        if (size > 4) {
          pen.strokeStyle = colors.card;
          pen.lineWidth = line;
          pen.stroke(paths[kind]);
        }
      }
      sprites.set(key, made);
    }
    return made;
  };

  const begin = () => {
    const wide = Math.ceil(width * (1 + 2 * MARGIN) * ratio);
    const high = Math.ceil(height * (1 + 2 * MARGIN) * ratio);
    if (spare.width !== wide || spare.height !== high) {
      spare.width = wide;
      spare.height = high;
    }
    const pen = spare.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, wide, high);
    const scale = view.scale * ratio;
    const x = (view.x + width * MARGIN) * ratio;
    const y = (view.y + height * MARGIN) * ratio;
    const px = new Float32Array(graph.count);
    const py = new Float32Array(graph.count);
    for (let i = 0; i < graph.count; i += 1) {
      px[i] = graph.x[i] * scale + x;
      py[i] = graph.y[i] * scale + y;
    }
    const many = graph.from.length;
    const closer = Math.sqrt(view.scale / fit.scale);
    pen.globalAlpha = Math.min(0.6, Math.max(0.045, (13 * closer) / Math.sqrt(many + 1)));
    pen.strokeStyle = colors.edge;
    pen.lineWidth = many > 20000 ? 1 : ratio;
    job = { pen, wide, high, px, py, edge: 0, node: 0, many, view: { ...view }, spent: 0, dashes: many <= 6000 };
  };
  const drawEdges = (until) => {
    const { pen, px, py, wide, high, many, dashes } = job;
    while (job.edge < many && performance.now() < until) {
      const end = Math.min(many, job.edge + 400);
      for (let pass = 0; pass < (dashes ? 2 : 1); pass += 1) {
        pen.beginPath();
        for (let e = job.edge; e < end; e += 1) {
          // those that one end alone claims are dashed
          if (dashes && (graph.claims[e] === 3) !== (pass === 0)) continue;
          const [x1, y1] = [px[graph.from[e]], py[graph.from[e]]];
          const [x2, y2] = [px[graph.to[e]], py[graph.to[e]]];
          if ((x1 < 0 && x2 < 0) || (y1 < 0 && y2 < 0) || (x1 > wide && x2 > wide) || (y1 > high && y2 > high)) continue;
          pen.moveTo(x1, y1);
          pen.lineTo(x2, y2);
        }
        if (pass) pen.setLineDash([4 * ratio, 4 * ratio]);
        pen.stroke();
        if (pass) pen.setLineDash([]);
      }
      job.edge = end;
    }
  };
  const drawNodes = (until) => {
    const { pen, px, py, wide, high } = job;
    pen.globalAlpha = 1;
    while (job.node < graph.count && performance.now() < until) {
      const end = Math.min(graph.count, job.node + 500);
      for (let i = job.node; i < end; i += 1) {
        if (!(px[i] > -20 && px[i] < wide + 20 && py[i] > -20 && py[i] < high + 20)) continue;
        const made = sprite(graph.kind[i], graph.hollow[i], radius(i));
        pen.drawImage(made, Math.round(px[i] - made.width / 2), Math.round(py[i] - made.width / 2));
      }
      job.node = end;
    }
  };
  const work = (until) => {
    const began = performance.now();
    drawEdges(until);
    if (job.edge >= job.many) drawNodes(until);
    job.spent += performance.now() - began;
    if (job.edge < job.many || job.node < graph.count) return;
    cost = job.spent;
    const done = { canvas: spare, view: job.view };
    spare = picture.canvas;
    picture = done;
    job = null;
  };

  const ring = (index, color, wide) => {
    context.beginPath();
    context.arc(sx(index), sy(index), radius(index) + 4, 0, 7);
    context.strokeStyle = color;
    context.lineWidth = wide;
    context.stroke();
  };
  const label = (index, strong) => {
    const text = graph.names[index];
    context.font = `${strong ? 600 : 400} 12px ${colors.sans}`;
    const wide = context.measureText(text).width;
    const left = Math.min(width - wide - 8, Math.max(4, sx(index) + radius(index) + 6));
    const y = sy(index);
    context.fillStyle = colors.card;
    context.globalAlpha = 0.85;
    context.fillRect(left - 3, y - 9, wide + 6, 18);
    context.globalAlpha = 1;
    context.fillStyle = colors.text;
    context.fillText(text, left, y + 4);
  };
  const overlay = () => {
    const chosen = hovered >= 0 ? [selected, hovered] : [selected];
    for (const index of chosen) {
      if (index < 0 || Number.isNaN(graph.x[index])) continue;
      for (const [other, outward, claims] of graph.links[index]) {
        context.beginPath();
        context.moveTo(sx(index), sy(index));
        context.lineTo(sx(other), sy(other));
        context.strokeStyle = outward ? colors.out : colors.in;
        context.lineWidth = 1.6;
        context.globalAlpha = 0.8;
        context.setLineDash(claims === 3 ? [] : [4, 4]);
        context.stroke();
      }
      context.setLineDash([]);
      context.globalAlpha = 1;
      for (const [other] of graph.links[index]) {
        const made = sprite(graph.kind[other], graph.hollow[other], radius(other));
        context.drawImage(made, sx(other) - made.width / ratio / 2, sy(other) - made.width / ratio / 2, made.width / ratio, made.width / ratio);
      }
      const made = sprite(graph.kind[index], graph.hollow[index], radius(index) * 1.25);
      context.drawImage(made, sx(index) - made.width / ratio / 2, sy(index) - made.width / ratio / 2, made.width / ratio, made.width / ratio);
    }
    let count = 0;
    for (const index of matches) {
      if (Number.isNaN(graph.x[index])) continue;
      ring(index, colors.text, 1.5);
      count += 1;
      if (count > 400) break;
    }
    if (selected >= 0 && !Number.isNaN(graph.x[selected])) {
      ring(selected, colors.text, 2.5);
      label(selected, true);
    }
    if (view.scale > fit.scale * 2.5) {
      const near = [];
      for (let i = 0; i < graph.count && near.length <= 40; i += 1) {
        const [x, y] = [sx(i), sy(i)];
        if (x > 0 && x < width && y > 0 && y < height) near.push(i);
      }
      if (near.length <= 40) for (const index of near) if (index !== selected) label(index, false);
    }
  };
  const paint = () => {
    frame = null;
    if (!view || width < 2) return;
    const now = performance.now();
    if (wanted && (cost < 10 || now - moved > IDLE)) {
      wanted = false;
      begin();
    }
    if (job) work(now + SLICE);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (picture.view) {
      const grown = view.scale / picture.view.scale;
      const left = view.x - (picture.view.x + width * MARGIN) * grown;
      const top = view.y - (picture.view.y + height * MARGIN) * grown;
      context.imageSmoothingEnabled = grown !== 1;
      context.drawImage(picture.canvas, left, top, width * (1 + 2 * MARGIN) * grown, height * (1 + 2 * MARGIN) * grown);
    }
    overlay();
    if (job || wanted) request();
  };
  const request = () => {
    if (frame === null) frame = requestAnimationFrame(paint);
  };
  // the picture is out of date: a new one is drawn
  const redraw = () => {
    job = null;
    wanted = true;
    request();
  };
  const movedTo = (next) => {
    view = next;
    moved = performance.now();
    // what was under the pointer is not any more
    if (hovered >= 0) hover(-1, 0, 0);
    redraw();
  };

  // -- moving it --------------------------------------------------------------------------

  const zoom = (factor, px = width / 2, py = height / 2) => {
    if (!view) return;
    const scale = Math.min(fit.scale * 60, Math.max(fit.scale * 0.5, view.scale * factor));
    const grown = scale / view.scale;
    movedTo({ scale, x: px - (px - view.x) * grown, y: py - (py - view.y) * grown });
  };
  const pan = (dx, dy) => view && movedTo({ ...view, x: view.x + dx, y: view.y + dy });
  const reset = () => movedTo({ ...fit });
  const hover = (index, x, y) => {
    if (index !== hovered) {
      hovered = index;
      canvas.classList.toggle("over", index >= 0);
      request();
    }
    onHover(index, x, y);
  };

  const pointers = new Map();
  let dragged = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 1) dragged = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      hover(at(x, y), x, y);
      return;
    }
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    if (others.length) {
      const [ox, oy] = others[0];
      const was = Math.hypot(before[0] - ox, before[1] - oy);
      if (was > 8) zoom(Math.hypot(x - ox, y - oy) / was, (x + ox) / 2, (y + oy) / 2);
    }
    pan((x - before[0]) / (others.length + 1), (y - before[1]) / (others.length + 1));
    dragged += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (dragged > 4) canvas.classList.add("held");
    pointers.set(event.pointerId, [x, y]);
  });
  const lift = (event) => {
    const was = pointers.delete(event.pointerId);
    canvas.classList.remove("held");
    if (was && event.type === "pointerup" && dragged <= 4 && !pointers.size) onSelect(at(...place(event)));
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => hover(-1, 0, 0));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(2, ...place(event)));
  const keys = {
    ArrowLeft: () => pan(60, 0),
    ArrowRight: () => pan(-60, 0),
    ArrowUp: () => pan(0, 60),
    ArrowDown: () => pan(0, -60),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: reset,
    Escape: () => onSelect(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  const readColors = () => {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(`--${name}`).trim();
    const kinds = SHAPES.map((_, index) => get(`c${index}`));
    colors = { kinds, card: get("card"), text: get("text"), edge: get("edge"), out: get("out"), in: get("in"), sans: get("sans") };
    sprites.clear();
  };
  const resize = () => {
    const box = canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const factor = window.devicePixelRatio || 1;
    if (box.width === width && box.height === height && factor === ratio) return;
    const middle = view && [(width / 2 - view.x) / view.scale, (height / 2 - view.y) / view.scale, view.scale / fit.scale];
    [width, height, ratio] = [box.width, box.height, factor];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    sprites.clear();
    fit = fitted();
    if (view) {
      const scale = fit.scale * middle[2];
      view = { scale, x: width / 2 - middle[0] * scale, y: height / 2 - middle[1] * scale };
      redraw();
    }
  };
  new ResizeObserver(resize).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColors();
    redraw();
  });
  readColors();
  resize();

  return {
    // Draw another graph; who looks at a part of it goes on looking there.
    show(next) {
      const whole = !view || (Math.abs(view.scale / fit.scale - 1) < 0.01 && Math.abs(view.x - fit.x) < 2 && Math.abs(view.y - fit.y) < 2);
      graph = next;
      hovered = -1;
      sortIntoSquares();
      fit = fitted();
      if (whole && graph.count) view = { ...fit };
      redraw();
    },
    select(index) {
      selected = index;
      request();
    },
    match(found) {
      matches = found;
      request();
    },
    goTo(index) {
      if (!view || index < 0 || Number.isNaN(graph.x[index])) return;
      const scale = Math.max(view.scale, fit.scale * 2.2);
      movedTo({ scale, x: width / 2 - graph.x[index] * scale, y: height / 2 - graph.y[index] * scale });
    },
    zoom,
    reset,
    where: (index) => [sx(index), sy(index)],
    state: () => ({ busy: job !== null || wanted, cost, scale: view && view.scale / fit.scale }),
  };
};
