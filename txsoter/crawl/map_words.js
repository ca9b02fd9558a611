// Words for numbers, and elements. Texts are only ever written as text.
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const SVG = "http://www.w3.org/2000/svg";

const duration = (seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  if (s < 864000) return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
};
const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;
// nearly all is not all
const percent = (part, whole) => {
  const share = part / whole;
  return whole ? `${(100 * share).toFixed(share < 0.0995 || (share > 0.995 && share < 1) ? 1 : 0)} %` : "–";
};
const height = (value) => (value === null || value === undefined ? "–" : number.format(value));
const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const make = (name, kind, text) => {
  const node = document.createElement(name);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
};
const draw = (name, attributes, ...children) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const mark = (kind, hollow) =>
  draw("svg", { viewBox: "-1.6 -1.6 3.2 3.2", class: `mark k${kind}`, "aria-hidden": "true" },
    draw("path", { d: SHAPES[kind], class: hollow ? "" : "full" }));
const bar = (words, count, whole) => {
  const item = make("li");
  item.append(make("span", "", words), make("span", "muted", `${number.format(count)} · ${percent(count, whole)}`));
  item.firstChild.title = words;
  const share = whole ? Math.min(1, count / whole) : 0;
  item.append(draw("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { x: 0, y: 0, width: (100 * share).toFixed(2), height: 8 })));
  return item;
};
