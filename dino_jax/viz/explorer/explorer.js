// What is looked at, and the page that follows it. Tests and consoles read window.explorer:
// state() as below; values(), the numbers shown, a side each; timings(), milliseconds of script
// of the latest answers; ready(), a promise that all that was asked for is shown.

const facts = JSON.parse(document.getElementById("facts").textContent);
const part = (id) => document.getElementById(id);
const MEAN = "mean", HELD = 8, LATEST = 200;

const state = {
  image: 0, left: 0, right: facts.weights.length > 1 ? 1 : -1,
  block: facts.weights[0].blocks.at(-1), head: MEAN, keep: 60, outlined: false, blend: 90,
  smooth: true, common: true,
  letters: true, // single characters are keys
  at: null, // [x, y] in [0, 1] of the picture, the middle of the patch that asks; null: CLS
  pinned: false,
};
const blocks = new Map(); // unpacked, the latest HELD
const pictures = new Map();
const sides = []; // {root, weights, block, unpacked, maps, ...} as shown
const timings = [];
let shown = Promise.resolve(), asked = 0, awaited = 0;
let later = null, frame = 0, finished = 0; // the heads' maps that are still to be drawn, and when

// ---- what is held -------------------------------------------------------------------------

function heldBlock(weights, image, block) {
  const name = `data-${weights}-${image}-${block}`;
  const found = blocks.get(name) || unpacked(
    facts.parts[name], bytesOf(document.getElementById(name).textContent.trim()));
  blocks.delete(name);
  blocks.set(name, found);
  if (blocks.size > HELD) blocks.delete(blocks.keys().next().value);
  return found;
}

async function heldPicture(index) {
  if (!pictures.has(index)) {
    const image = new Image();
    image.src = facts.images[index].source;
    pictures.set(index, image.decode().then(() => photographs(image, facts.shades)));
  }
  return pictures.get(index);
}

// The block of other weights at the same depth, if not of the same number.
function blockOf(weights, block) {
  const { blocks: held, depth } = facts.weights[weights];
  if (held.includes(block)) return block;
  const wanted = (block + 1) / facts.weights[state.left].depth;
  return held.reduce((best, each) =>
    Math.abs((each + 1) / depth - wanted) < Math.abs((best + 1) / depth - wanted) ? each : best);
}

function gridOf(weights) { return facts.weights[weights].grids[state.image]; }

// The patch of a grid that asks, as its place; -1 is CLS.
function placeIn({ rows, columns }, at = state.at) {
  if (!at) return -1;
  const [x, y] = at;
  return Math.min(Math.floor(y * rows), rows - 1) * columns
    + Math.min(Math.floor(x * columns), columns - 1);
}

// A hair before the middle: that may be the border of another network's patches.
function middleOf(row, column, { rows, columns }) {
  return [(column + 0.499) / columns, (row + 0.499) / rows];
}

// ---- showing ------------------------------------------------------------------------------

// Put on the screen what `state` says, once what it needs is unpacked.
function show() {
  const turn = ++asked;
  const wanted = [state.left, state.right].filter((weights) => weights >= 0);
  document.body.classList.add("busy");
  shown = Promise.all([heldPicture(state.image), ...wanted.map((weights) =>
    heldBlock(weights, state.image, blockOf(weights, state.block)))])
    .then(([picture, ...unpackedBlocks]) => {
      if (turn !== asked) return shown;
      arrange(wanted, picture, unpackedBlocks);
      document.body.classList.remove("busy");
      answer();
    }).catch((problem) => { fail(`The page could not be unpacked: ${problem.message}`); });
  return shown;
}

function fail(text) {
  part("failure").textContent = text;
  part("failure").hidden = false;
}

// One section for each of the weights shown, with its canvases.
function arrange(wanted, picture, unpackedBlocks) {
  part("sides").classList.toggle("two", wanted.length > 1);
  while (sides.length > wanted.length) sides.pop().root.remove();
  wanted.forEach((weights, index) => {
    if (!sides[index]) {
      const root = part("side").content.cloneNode(true).firstElementChild;
      part("sides").append(root);
      sides[index] = { root };
      listen(root.querySelector(".large"), index);
    }
    Object.assign(sides[index], { weights, picture, unpacked: unpackedBlocks[index],
      block: blockOf(weights, state.block), grid: gridOf(weights) });
    furnish(sides[index], index);
  });
}

function furnish(side, index) {
  const { root, weights, picture, block, unpacked: { heads } } = side;
  const { name, said, depth } = facts.weights[weights];
  const title = root.querySelector("h2"), more = document.createElement("span");
  more.textContent = ` · ${said} · block ${block}${block === depth - 1 ? " (the last)" : ` of 0 to ${depth - 1}`}`;
  title.replaceChildren(name, more);
  const { width, height } = picture.photo;
  const sharp = Math.min(2, 1600 / Math.max(width, height), Math.max(1, 900 / Math.max(width, height)));
  resize(root.querySelector(".large"), Math.round(width * sharp), Math.round(height * sharp));
  root.querySelector(".large").style.setProperty("--aspect", width / height);
  const tiles = root.querySelector(".tiles");
  while (tiles.childElementCount > heads.length + 1) tiles.lastElementChild.remove();
  while (tiles.childElementCount < heads.length + 1) tiles.append(newTile(tiles.childElementCount - 1, index));
  for (const tile of tiles.querySelectorAll("canvas"))
    resize(tile, ...(width > height ? [320, Math.max(1, Math.round(320 * height / width))]
      : [Math.max(1, Math.round(320 * width / height)), 320]));
}

function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

function newTile(head, index) {
  const tile = document.createElement("div"), button = document.createElement("button");
  const canvas = canvasOf(1, 1), share = document.createElement("span");
  tile.className = "tile";
  button.type = "button";
  button.append(head < 0 ? "mean" : `head ${head}`, share);
  button.addEventListener("click", () => change({ head: head < 0 ? MEAN : head }));
  canvas.setAttribute("role", "img");
  canvas.tabIndex = -1; // a click takes the arrows there
  listen(canvas, index);
  tile.append(canvas, button);
  return tile;
}

// All maps of the patch that asks, computed, and the large ones drawn: what a hover waits for. The
// heads' maps are drawn in the next frame, or a later one while the pointer moves.
function answer() {
  const start = performance.now();
  for (const side of sides) attend(side);
  const every = sides.flatMap((side) => [side.mean, ...side.maps]);
  const full = state.common ? fullOf(every, facts.full) : null;
  const colours = coloursOf(facts.colours, state.blend / 100);
  for (const side of sides) drawLarge(side, full, colours);
  later = () => { for (const side of sides) drawTiles(side, full, colours); };
  if (!frame) frame = requestAnimationFrame(thumbnails);
  timings.push(performance.now() - start);
  if (timings.length > LATEST) timings.shift();
  tell();
}

function thumbnails() {
  if (pending && performance.now() - finished < 100) frame = requestAnimationFrame(thumbnails);
  else finish();
}

// Draw what is still to be drawn.
function finish() {
  cancelAnimationFrame(frame);
  frame = 0;
  later?.();
  later = null;
  finished = performance.now();
}

function attend(side) {
  const token = placeIn(side.grid) + 1;
  if (side.token !== token || side.computed !== side.unpacked) {
    side.rows = side.unpacked.heads.map((head) => attention(head, token));
    side.maps = side.rows.map((row) => row.subarray(1));
    side.mean = mean(side.maps);
    Object.assign(side, { token, computed: side.unpacked, masks: null });
  }
  const keep = state.outlined ? state.keep / 100 : null;
  if (side.keep !== keep || !side.masks) side.masks = Array(side.maps.length + 1).fill(null);
  side.keep = keep;
}

// Of the mean (0) or a head, decided when it is first drawn; null without outlines.
function maskOf(side, index) {
  const map = index ? side.maps[index - 1] : side.mean;
  return side.masks[index] ??= side.keep && massMask(map, side.keep);
}

function chosenMap(side) {
  return state.head === MEAN || state.head >= side.maps.length ? 0 : state.head + 1;
}

function lookOf(side, colours) {
  const marked = side.token ? side.token - 1 : null;
  return { colours, blend: state.blend / 100, smooth: state.smooth, marked };
}

function drawLarge(side, common, colours) {
  const { root, grid, picture } = side, chosen = chosenMap(side);
  const map = [side.mean, ...side.maps][chosen], full = common ?? fullOf([map], facts.full);
  const look = { ...lookOf(side, colours), full, mask: maskOf(side, chosen) };
  drawMap(root.querySelector(".large"), picture, map, grid, look);
  scale(side, map, full, colours);
  root.querySelectorAll(".tile button").forEach((button, index) =>
    button.setAttribute("aria-pressed", index === chosen));
}

function drawTiles(side, common, colours) {
  const { root, grid, picture } = side, look = lookOf(side, colours);
  const tiles = root.querySelector(".tiles").children;
  [side.mean, ...side.maps].forEach((map, index) => {
    const full = common ?? fullOf([map], facts.full);
    const [canvas, button] = tiles[index].children;
    drawMap(canvas, picture, map, grid, { ...look, full, mask: maskOf(side, index) });
    button.lastElementChild.textContent = `max ${percent(map[largest(map, 1)[0]])}`;
  });
}

function scale(side, map, full, colours) {
  const [low, canvas, high] = side.root.querySelector(".scale").children;
  const even = evenShare(map);
  drawScale(canvas, colours);
  low.textContent = `even share ${percent(even)}`;
  high.textContent = `≥ ${percent(full * even)} (${Number(full.toPrecision(2))}\u00a0×)`;
}

function percent(share) {
  const value = 100 * share;
  return `${value >= 0.001 || value === 0 ? Number(value.toPrecision(2)) : value.toExponential(0)}\u00a0%`;
}

// ---- telling ------------------------------------------------------------------------------

function named(head) { return head === 0 ? "mean of heads" : `head ${head - 1}`; }

function patchName(place, { columns }) {
  return `row ${Math.floor(place / columns)}, column ${place % columns}`;
}

// The sentences of one side: what of CLS, itself, and where most goes.
function sentences(side) {
  const chosen = chosenMap(side), map = [side.mean, ...side.maps][chosen];
  const rows = chosen ? [side.rows[chosen - 1]] : side.rows;
  const toCls = rows.reduce((sum, row) => sum + row[0], 0) / rows.length;
  const own = side.token ? `itself ${percent(map[side.token - 1])}, CLS ${percent(toCls)}`
    : `itself ${percent(toCls)}`;
  const top = largest(map, 3).map((place) => `${patchName(place, side.grid)}: ${percent(map[place])}`);
  const level = Math.max(...map) * map.length < 1.5 ? " Nearly even, as of an untrained network." : "";
  const mask = maskOf(side, chosen);
  const outlined = mask
    ? ` Outlined: ${mask.reduce((a, b) => a + b, 0)} of ${mask.length} patches hold ${state.keep}\u00a0%.` : "";
  const exact = side.token ? "" : " From CLS: the library's numbers.";
  return { name: named(chosen), text: `${own}. Most: ${top.join("; ")}.${level}${outlined}${exact}` };
}

function askerOf({ grid }) {
  return state.at ? `patch ${patchName(placeIn(grid), grid)}` : "CLS, the class token";
}

function tell() {
  const askers = [...new Set(sides.map(askerOf))]; // one, unless the patches have other sizes
  const who = askers.join(" and, of the second, ");
  const pinned = state.pinned ? " (pinned: Esc frees it)" : "";
  part("asking").firstElementChild.textContent =
    `What ${who} ${askers.length > 1 ? "attend" : "attends"} to${pinned}`;
  const told = sides.map(sentences);
  sides.forEach((side, index) => {
    const { root, weights, block } = side, name = document.createElement("b");
    name.textContent = told[index].name;
    root.querySelector(".reading").replaceChildren(name, `: ${told[index].text}`);
    const label = `${facts.images[state.image].name}, ${facts.weights[weights].name}, block ${block}, from ${askerOf(side)}`;
    root.querySelector(".large").setAttribute("aria-label", `${told[index].name}: ${label}`);
    root.querySelectorAll(".tile canvas").forEach((canvas, head) =>
      canvas.setAttribute("aria-label", `${named(head)}: ${label}`));
  });
  part("cls").setAttribute("aria-pressed", !state.at);
  clearTimeout(awaited);
  awaited = setTimeout(() => {
    part("live").textContent = `From ${who}. ` + told.map(({ name, text }, index) =>
      `${sides.length > 1 ? `${facts.weights[sides[index].weights].name}, ` : ""}${name}: ${text}`).join(" ");
    remember();
  }, 250);
}
