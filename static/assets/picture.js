/**
 * A moving picture, drawn by numbers: a ferry crosses a sea between islands, at dusk or, in a light page, at
 * dawn. It is behind the comments, as a film would be.
 */
export function startPicture(canvas) {
  const context = canvas.getContext("2d");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0;
  let paused = false;
  let time = 40;
  let before = 0;

  function paint(now) {
    frame = 0;
    // A frame in three is enough for a sea.
    if (now - before > 45) {
      time += Math.min(now - before, 100) / 1000;
      before = now;
      scene(context, canvas.width, canvas.height, time, dark.matches ? NIGHT : DAWN);
    }
    if (!paused && !still.matches) frame = requestAnimationFrame(paint);
  }

  function redraw() {
    before = 0;
    frame ||= requestAnimationFrame(paint);
  }

  new ResizeObserver(() => {
    const scale = Math.min(devicePixelRatio, 1.5);
    canvas.width = Math.max(Math.round(canvas.clientWidth * scale), 1);
    canvas.height = Math.max(Math.round(canvas.clientHeight * scale), 1);
    redraw();
  }).observe(canvas);
  dark.addEventListener("change", redraw);

  return {
    pause(does) {
      paused = does;
      if (!paused) redraw();
    },
  };
}

const DAWN = {
  sky: ["#33506f", "#8d7f96", "#e8a87c", "#f8d9a0"],
  sun: "#fff3d1",
  glow: "255 226 160",
  islands: ["#8a7d93", "#5f6d86", "#3c536c"],
  sea: ["#c99a86", "#5f7f96", "#274a63"],
  light: "255 236 190",
  boat: "#1c2f40",
};

const NIGHT = {
  sky: ["#070f1d", "#12233c", "#1f3f57", "#2f6470"],
  sun: "#eaf3f2",
  glow: "150 205 210",
  islands: ["#21465a", "#163243", "#0c202e"],
  sea: ["#2a5866", "#123041", "#071722"],
  light: "190 235 235",
  boat: "#050d15",
};

function scene(context, width, height, time, colours) {
  const horizon = 0.58 * height;
  gradient(context, colours.sky, 0, horizon, width);
  const [x, y, size] = [0.68 * width, horizon - 0.13 * height, 0.05 * height];
  const glow = context.createRadialGradient(x, y, 0, x, y, 9 * size);
  glow.addColorStop(0, `rgb(${colours.glow} / 55%)`);
  glow.addColorStop(1, `rgb(${colours.glow} / 0%)`);
  context.fillStyle = glow;
  context.fillRect(0, 0, width, horizon);
  context.fillStyle = colours.sun;
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
  colours.islands.forEach((colour, depth) => ridge(context, width, height, horizon, depth, time, colour));
  gradient(context, colours.sea, horizon, height, width);
  glitter(context, width, height, horizon, x, time, colours.light);
  ferry(context, width, height, horizon, time, colours);
}

function gradient(context, colours, top, bottom, width) {
  const made = context.createLinearGradient(0, top, 0, bottom);
  colours.forEach((colour, index) => made.addColorStop(index / (colours.length - 1), colour));
  context.fillStyle = made;
  context.fillRect(0, top, width, bottom - top + 1);
}

/** Islands of one depth: nearer ones pass faster. */
function ridge(context, width, height, horizon, depth, time, colour) {
  const shift = time * (depth + 1) * 0.0035;
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(0, horizon);
  for (let step = 0; step <= 90; step += 1) {
    const at = step / 90 + shift + 3.1 * depth;
    const hills = Math.sin(5 * at) + 0.55 * Math.sin(11.3 * at + depth) + 0.22 * Math.sin(27 * at);
    const rise = Math.max(hills - 0.35 - 0.3 * depth, 0);
    context.lineTo((step / 90) * width, horizon - rise * height * (0.13 - 0.025 * depth));
  }
  context.lineTo(width, horizon);
  context.fill();
}

/** The way of the light on the water, and waves. */
function glitter(context, width, height, horizon, x, time, light) {
  for (let row = 0; row < 34; row += 1) {
    const near = row / 34;
    const y = horizon + 2 + (height - horizon) * near ** 1.35;
    const wave = Math.sin(1.9 * time + 2.3 * row) * Math.sin(0.7 * time + row);
    const reach = width * (0.018 + 0.1 * near) * (0.6 + 0.4 * wave);
    context.fillStyle = `rgb(${light} / ${Math.round(46 - 30 * near + 10 * wave)}%)`;
    context.fillRect(x - reach + 14 * near * Math.sin(time + row), y, 2 * reach, Math.max(1, height * 0.0035 * (1 + near)));
    context.fillStyle = `rgb(${light} / 6%)`;
    const start = ((row * 0.377 + time * 0.012 * (1 + 2 * near)) % 1.3) * width - 0.15 * width;
    context.fillRect(start, y, width * (0.05 + 0.14 * near), Math.max(1, height * 0.003));
  }
}

function ferry(context, width, height, horizon, time, colours) {
  const long = 0.13 * height;
  const x = ((time * 0.011) % 1.35) * (width + long) - 0.15 * width;
  const y = horizon + 0.085 * height + Math.sin(1.4 * time) * height * 0.003;
  context.fillStyle = `rgb(${colours.light} / 14%)`;
  context.fillRect(x - 1.9 * long, y + 0.19 * long, 2 * long, 0.03 * long);
  context.fillStyle = colours.boat;
  context.beginPath();
  context.moveTo(x - 0.55 * long, y);
  context.lineTo(x + 0.75 * long, y - 0.03 * long);
  context.lineTo(x + 0.6 * long, y + 0.2 * long);
  context.lineTo(x - 0.45 * long, y + 0.2 * long);
  context.fill();
  context.fillRect(x - 0.4 * long, y - 0.16 * long, 0.8 * long, 0.17 * long);
  context.fillRect(x - 0.28 * long, y - 0.3 * long, 0.5 * long, 0.15 * long);
  context.fillRect(x - 0.16 * long, y - 0.46 * long, 0.1 * long, 0.2 * long);
  context.fillStyle = `rgb(${colours.light} / 85%)`;
  for (let window = 0; window < 7; window += 1) {
    context.fillRect(x - 0.34 * long + window * 0.1 * long, y - 0.11 * long, 0.05 * long, 0.05 * long);
  }
}
