// Pointer, touch, keyboard and form; the state in the address.

// Take what changed, and show it; what is not unpacked yet comes a moment later.
function change(some) {
  const before = { ...state };
  Object.assign(state, some);
  if (some.left !== undefined) state.block = blockOf(state.left, before.block);
  fill();
  const anew = ["image", "left", "right", "block"].some((name) => before[name] !== state[name]);
  if (anew || document.body.classList.contains("busy")) show();
  else answer();
}

// ---- pointer ------------------------------------------------------------------------------

let pending = null; // of several moves within a frame the last one counts

function listen(canvas, index) {
  const over = (event) => {
    const box = canvas.getBoundingClientRect();
    const inside = (value) => Math.min(Math.max(value, 0), 0.999999);
    return [inside((event.clientX - box.left) / box.width),
      inside((event.clientY - box.top) / box.height)];
  };
  canvas.addEventListener("pointermove", (event) => {
    if (state.pinned && !event.buttons) return;
    if (!pending) requestAnimationFrame(() => { moveTo(pending); pending = null; });
    pending = over(event);
  });
  canvas.addEventListener("click", (event) => {
    const at = over(event), { grid } = sides[index];
    const same = state.at && placeIn(grid, at) === placeIn(grid);
    change({ at, pinned: !(state.pinned && same) });
  });
}

function moveTo(at) {
  const same = state.at && sides.every(({ grid }) => placeIn(grid, at) === placeIn(grid));
  if (sides.length && !same) change({ at });
}

// ---- keyboard -----------------------------------------------------------------------------

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function step([down, right], far, grid) {
  const place = placeIn(grid);
  const many = far ? 5 : 1;
  const from = place < 0 ? [Math.floor(grid.rows / 2), Math.floor(grid.columns / 2)]
    : [Math.floor(place / grid.columns) + many * down, place % grid.columns + many * right];
  const row = Math.min(Math.max(from[0], 0), grid.rows - 1);
  const column = Math.min(Math.max(from[1], 0), grid.columns - 1);
  change({ at: middleOf(row, column, grid), pinned: true });
}

function nextBlock(by) {
  const { blocks: held } = facts.weights[state.left];
  const place = held.indexOf(state.block) + by;
  if (held[place] !== undefined) change({ block: held[place] });
}

const KEYS = {
  "[": () => nextBlock(-1),
  "]": () => nextBlock(1),
  c: () => change({ at: null, pinned: true }),
  m: () => change({ head: MEAN }),
  t: () => change({ outlined: !state.outlined }),
  "-": () => change({ outlined: true, keep: Math.max(state.keep - 5, 1) }),
  "+": () => change({ outlined: true, keep: Math.min(state.keep + 5, 100) }),
  "=": () => KEYS["+"](),
  o: () => change({ blend: state.blend ? 0 : 90 }),
  s: () => change({ smooth: !state.smooth }),
  n: () => change({ image: (state.image + 1) % facts.images.length }),
  p: () => save(),
  Escape: () => change({ pinned: false }),
};

function pressed(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || !sides.length) return;
  if (STEPS[key]) { // elsewhere they scroll the page
    const side = target.closest("canvas") && sides.find(({ root }) => root.contains(target));
    if (!side) return;
    step(STEPS[key], event.shiftKey, side.grid);
  } else if (key.length === 1 && !state.letters) return;
  else if (target.closest("select, textarea, input:not([type=checkbox])")) return;
  else if (/^[0-9]$/.test(key)) {
    if (+key < facts.weights[state.left].heads) change({ head: +key });
  } else if (Object.hasOwn(KEYS, key)) KEYS[key]();
  else return;
  event.preventDefault();
}

// ---- form ---------------------------------------------------------------------------------

function options(select, texts) {
  select.replaceChildren(...texts.map(([value, text]) => new Option(text, value)));
}

// What the form says is the state.
function fill() {
  const { blocks: held, heads, depth } = facts.weights[state.left];
  options(part("block"), held.map((block) => [block, block === depth - 1 ? `${block} (last)` : `${block}`]));
  options(part("head"), [[MEAN, "mean"], ...Array.from({ length: heads }, (_, head) => [head, `${head}`])]);
  for (const name of ["image", "left", "right", "block", "head", "keep", "blend"]) part(name).value = state[name];
  for (const name of ["outlined", "smooth", "common", "letters"]) part(name).checked = state[name];
  part("kept").textContent = `${state.keep} %`;
  part("opaque").textContent = `${state.blend} %`;
}

function connect() {
  const names = facts.weights.map(({ name }, index) => [index, name]);
  options(part("image"), facts.images.map(({ name }, index) => [index, name]));
  options(part("left"), names);
  options(part("right"), [[-1, "nothing"], ...names]);
  part("pictures").hidden = facts.images.length < 2;
  part("against").hidden = facts.weights.length < 2;
  for (const name of ["image", "left", "right", "block"])
    part(name).addEventListener("change", (event) => change({ [name]: +event.target.value }));
  part("head").addEventListener("change", ({ target: { value } }) =>
    change({ head: value === MEAN ? MEAN : +value }));
  part("keep").addEventListener("input", (event) => change({ keep: +event.target.value, outlined: true }));
  part("blend").addEventListener("input", (event) => change({ blend: +event.target.value }));
  for (const name of ["outlined", "smooth", "common", "letters"])
    part(name).addEventListener("change", (event) => change({ [name]: event.target.checked }));
  part("controls").addEventListener("submit", (event) => event.preventDefault());
  part("more").addEventListener("click", () =>
    part("more").setAttribute("aria-expanded", part("rest").classList.toggle("open")));
  part("cls").addEventListener("click", () => change({ at: null, pinned: true }));
  part("save").addEventListener("click", save);
  part("link").addEventListener("click", copyLink);
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => { if (location.hash !== written) change(remembered()); });
}

// ---- address ------------------------------------------------------------------------------

let written = "";

function remember() {
  const kept = { ...state, at: state.at ? state.at.map((value) => value.toFixed(6)).join(",") : "cls" };
  for (const [name, value] of Object.entries(kept)) if (value === true || value === false) kept[name] = +value;
  written = `#${new URLSearchParams(kept)}`;
  // A page within another, as in a notebook's cell, has no address: there is nothing to link to.
  try { history.replaceState(null, "", written); } catch { part("link").hidden = true; }
}

// What the address says of the state; what makes no sense here is left out.
function remembered() {
  const said = new URLSearchParams(location.hash.slice(1)), found = {};
  const whole = (name, allowed) => {
    const value = Number(said.get(name));
    if (said.get(name) && allowed(value)) found[name] = value;
  };
  whole("image", (value) => value in facts.images);
  whole("left", (value) => value in facts.weights);
  whole("right", (value) => value === -1 || value in facts.weights);
  const { blocks: held, heads } = facts.weights[found.left ?? state.left];
  whole("block", (value) => held.includes(value));
  whole("keep", (value) => Number.isInteger(value) && value >= 1 && value <= 100);
  whole("blend", (value) => Number.isInteger(value) && value >= 0 && value <= 100);
  whole("head", (value) => Number.isInteger(value) && value >= 0 && value < heads);
  if (said.get("head") === MEAN) found.head = MEAN;
  for (const name of ["outlined", "smooth", "common", "letters", "pinned"])
    if (said.get(name)) found[name] = said.get(name) === "1";
  const at = (said.get("at") || "").split(",").map(Number);
  if (said.get("at") === "cls") found.at = null;
  else if (at.length === 2 && at.every((value) => value >= 0 && value < 1)) found.at = at;
  return found;
}

async function copyLink() {
  remember();
  let text = "Copied";
  try { await navigator.clipboard.writeText(location.href); } catch { text = "It is in the address bar"; }
  part("link").textContent = text;
  setTimeout(() => { part("link").textContent = "Copy link"; }, 1500);
}

// ---- files --------------------------------------------------------------------------------

// What a saved picture says of itself, a line each.
function captionOf(side) {
  const { weights, block, grid } = side;
  return [
    `${facts.weights[weights].name}, block ${block}, ${named(chosenMap(side))}`,
    `${facts.images[state.image].name}, from ${state.at ? `patch ${patchName(placeIn(grid), grid)}` : "CLS"}`,
    state.outlined ? `outline: ${state.keep} % of the attention` : "no outline",
  ];
}

// A text in lines of at most so many pixels, broken between words, or within those too long.
function wrapped(context, text, width) {
  const lines = [""];
  const fits = (line) => context.measureText(line).width <= width;
  for (const word of text.split(/(?<= )/)) {
    if (lines.at(-1) && !fits(lines.at(-1) + word.trimEnd())) lines.push("");
    if (fits(lines.at(-1) + word.trimEnd())) lines[lines.length - 1] += word;
    else for (const letter of word) {
      if (lines.at(-1) && !fits(lines.at(-1) + letter)) lines.push("");
      lines[lines.length - 1] += letter;
    }
  }
  return lines;
}

// The large maps as shown, with what they are beneath.
function save() {
  const views = sides.map(({ root }) => root.querySelector(".large"));
  const line = 26, font = "18px system-ui, sans-serif";
  const measuring = canvasOf(1, 1).getContext("2d");
  measuring.font = font;
  const captions = sides.map((side, index) =>
    captionOf(side).flatMap((text) => wrapped(measuring, text, views[index].width - 8)));
  const width = views.reduce((sum, { width: wide }) => sum + wide, 10 * (views.length - 1));
  const canvas = canvasOf(width, Math.max(
    ...views.map(({ height }, index) => height + captions[index].length * line + 8)));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#111";
  context.font = font;
  let left = 0;
  views.forEach((view, index) => {
    context.drawImage(view, left, 0);
    captions[index].forEach((text, row) =>
      context.fillText(text, left + 4, view.height + (row + 1) * line - 4));
    left += view.width + 10;
  });
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "attention.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// ---- start --------------------------------------------------------------------------------

window.explorer = {
  state: () => structuredClone(state),
  values: () => { finish(); return sides.map((side) => ({
    weights: facts.weights[side.weights].name, block: side.block, token: side.token,
    rows: side.grid.rows, columns: side.grid.columns,
    heads: side.rows.map((row) => Array.from(row)), mean: Array.from(side.mean),
    masks: side.masks.map((mask) => mask && Array.from(mask)), // of the mean, then of the heads
  })); },
  timings: () => [...timings],
  ready: async () => { let last; do { last = shown; await last; } while (last !== shown); finish(); },
};

connect();
Object.assign(state, facts.start);
Object.assign(state, remembered());
state.block = blockOf(state.left, state.block);
fill();
if (typeof DecompressionStream === "undefined")
  fail("This browser is too old to unpack the page (it lacks DecompressionStream): Chrome 80, "
    + "Firefox 113 or Safari 16.4 and later can.");
else show();
