"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.remove("plain");

  // Elements. Text is only ever set as text, so that nothing in the data can become markup.

  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined) element.append(child);
    }
    return element;
  }
  const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const label = (x, y, text, attributes = {}) => svg("text", { x, y, ...attributes }, text);
  const line = (x1, y1, x2, y2, style) => svg("line", { x1, y1, x2, y2, class: style });
  const tip = (text) => svg("title", {}, text);

  // Figures.

  const score = (value) => value.toFixed(4);
  const tickText = (value, places) => (Math.abs(value) < 1e-12 ? "" : value > 0 ? "+" : "−") + Math.abs(value).toFixed(places);
  const signed = (value) => (Math.abs(value) < 5e-5 ? "0.0000" : (value > 0 ? "+" : "−") + Math.abs(value).toFixed(4));
  const chance = (value) => (value === null ? "" : value < 0.001 ? "p < 0.001" : `p = ${value.toFixed(3)}`);
  const amount = (value) =>
    value >= 1e9 ? `${+(value / 1e9).toPrecision(3)} G` : value >= 1e6 ? `${+(value / 1e6).toPrecision(3)} M`
      : value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
  const words = (name) => name.replace("_per_", "/").replaceAll("_", " ");
  const cut = (text, width) => (text.length * 6.8 <= width ? text : `${text.slice(0, Math.max(3, Math.floor(width / 6.8) - 1))}…`);
  const hue = (system) => `s${system % 8}`;

  // Scales.

  function steps(low, high, wanted) {
    const span = high - low || Math.abs(high) || 1;
    const rough = span / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const found = [];
    for (let place = first; place * step <= high + step * 1e-9; place += 1) found.push(place * step);
    const places = step >= 1 ? 0 : Math.min(4, (String(+step.toPrecision(2)).split(".")[1] ?? "").length);
    return { found, places };
  }
  const linear = (low, high, start, end) => (value) => start + ((value - low) / (high - low || 1)) * (end - start);
  const logarithmic = (low, high, start, end) => {
    const scale = linear(Math.log10(low), Math.log10(high), start, end);
    return (value) => scale(Math.log10(value));
  };
  function decades(low, high) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const digit of [1, 2, 5]) {
        const value = digit * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    return found;
  }

  // A chart is drawn anew whenever its width changes, so that its letters keep their size.

  const charts = new Map();
  const watcher = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.get(entry.target);
      const width = Math.floor(entry.contentRect.width);
      if (chart && width > 0 && width !== chart.width) draw(entry.target, width);
    }
  });
  function draw(element, width) {
    const chart = charts.get(element);
    chart.width = width;
    element.replaceChildren(...[chart.make(width)].flat());
  }
  function chart(id, make) {
    const element = byId(id);
    charts.set(element, { make, width: 0 });
    const width = Math.floor(element.clientWidth);
    if (width > 0) draw(element, width);
    watcher.observe(element);
  }
  const picture = (width, height, name, ...children) =>
    svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": name }, ...children);

  // Choices.

  function choices(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
    select.value = String(chosen);
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }

  // Sorting.

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = html("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const number = head.classList.contains("number");
        const before = head.getAttribute("aria-sort");
        const rising = before ? before === "descending" : !number;
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => {
          const cell = row.cells[column];
          return { row, key: number ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent };
        });
        keyed.sort((one, other) => {
          if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
          const order = number ? one.key - other.key : one.key.localeCompare(other.key, "en", { numeric: true });
          return rising ? order : -order;
        });
        body.append(...keyed.map((each) => each.row));
      });
    });
  }

  // Differences of two systems, over tasks.

  function pairOf(task, first, second) {
    for (const pair of data.pairs) {
      if (pair.task !== task) continue;
      if (pair.first === first && pair.second === second) return pair;
      if (pair.first === second && pair.second === first) return turned(pair);
    }
    return null;
  }
  const minus = (value) => (value === null ? null : -value);
  function turned(pair) {
    const last = pair.n - 1;
    const swap = (items) => items.map(([item, one, other]) => [item, other, one]);
    return {
      ...pair,
      first: pair.second,
      second: pair.first,
      difference: -pair.difference,
      low: minus(pair.high),
      high: minus(pair.low),
      record: pair.record && [...pair.record].reverse(),
      ...(pair.curve && {
        curve: pair.curve.map(([place, gap]) => [last - place, -gap]).reverse(),
        histogram: { reach: pair.histogram.reach, counts: [...pair.histogram.counts].reverse() },
        wins: swap(pair.losses),
        losses: swap(pair.wins),
      }),
    };
  }
  const nameOf = (system) => data.systems[system].name;
  const betterOf = (pair) =>
    pair.adjusted !== null && pair.adjusted < data.alpha && pair.difference !== 0
      ? (pair.difference > 0 ? pair.second : pair.first) : null;

  function forest(first, second) {
    const rows = data.tasks.map((task, place) => [task, pairOf(place, first, second)]).filter(([, pair]) => pair);
    return (width) => {
      if (!rows.length) return html("p", { class: "nothing" }, "These two systems were not compared.");
      const narrow = width < 560;
      const left = narrow ? 12 : Math.min(230, width * 0.26);
      const right = narrow ? 12 : 150;
      const height = narrow ? 44 : 26;
      const top = 26;
      const reach = Math.max(1e-4, ...rows.flatMap(([, pair]) => [pair.difference, pair.low ?? 0, pair.high ?? 0].map(Math.abs))) * 1.06;
      const x = linear(-reach, reach, left, width - right);
      const bottom = top + rows.length * height;
      const ticks = steps(-reach, reach, narrow ? 4 : 6);
      return picture(width, bottom + 22, `Differences from ${nameOf(first)} to ${nameOf(second)}`,
        ticks.found.map((tick) => [
          line(x(tick), top, x(tick), bottom, Math.abs(tick) < 1e-12 ? "zero" : "axis"),
          label(x(tick), bottom + 15, tickText(tick, ticks.places), { "text-anchor": "middle", class: "soft" }),
        ]),
        label(x(0) - 10, 14, `← ${cut(nameOf(first), x(0) - left - 30)}`, { "text-anchor": "end", class: "soft" }),
        label(x(0) + 10, 14, `${cut(nameOf(second), width - x(0) - 40)} →`, { class: "soft" }),
        rows.map(([task, pair], place) => {
          const y = top + (place + 0.5) * height + (narrow ? 9 : 0);
          const better = betterOf(pair);
          return svg("g", { class: better === null ? "even" : hue(better) },
            tip(`${task.name}: ${signed(pair.difference)}${pair.low === null ? "" : ` [${signed(pair.low)}, ${signed(pair.high)}]`} ${chance(pair.adjusted)} ${pair.note}`),
            narrow ? label(left, y - 12, cut(task.name, width * 0.55), { class: "halo" }) : label(left - 12, y + 4, cut(task.name, left - 16), { "text-anchor": "end" }),
            pair.low === null ? null : line(x(pair.low), y, x(pair.high), y, "whisker"),
            svg("circle", { cx: x(pair.difference), cy: y, r: 4.5, class: better === null ? "hollow" : "dot" }),
            label(narrow ? width : width - right + 64, narrow ? y - 12 : y + 4, signed(pair.difference), { "text-anchor": "end", class: `${better === null ? "soft" : "strong"} halo` }),
            narrow ? null : label(width, y + 4, chance(pair.adjusted), { "text-anchor": "end", class: "soft" }));
        }));
    };
  }

  // Differences of two systems, by item.

  function curve(pair) {
    return (width) => {
      const height = Math.min(300, Math.max(200, width * 0.42));
      const [left, right, top, bottom] = [44, 8, 10, height - 24];
      const reach = Math.max(...pair.curve.map(([, gap]) => Math.abs(gap)), 1e-4);
      const x = linear(0, pair.n, left, width - right);
      const y = linear(-reach, reach, bottom, top);
      const ticks = steps(-reach, reach, 4);
      const area = (sign) => {
        const parts = [];
        pair.curve.forEach(([place, gap], index) => {
          if (gap * sign <= 0) return;
          const from = index === 0 ? 0 : (pair.curve[index - 1][0] + place + 1) / 2;
          const to = index === pair.curve.length - 1 ? pair.n : (place + 1 + pair.curve[index + 1][0]) / 2;
          parts.push(`M${x(from).toFixed(2)} ${y(0).toFixed(2)}V${y(gap).toFixed(2)}H${x(to).toFixed(2)}V${y(0).toFixed(2)}Z`);
        });
        return parts.join("");
      };
      return picture(width, height, `Differences of ${pair.n} items`,
        ticks.found.map((tick) => [
          line(left, y(tick), width - right, y(tick), Math.abs(tick) < 1e-12 ? "zero" : "axis"),
          label(left - 8, y(tick) + 4, tickText(tick, ticks.places), { "text-anchor": "end", class: "soft" }),
        ]),
        svg("path", { d: area(-1), class: `area ${hue(pair.first)}` }),
        svg("path", { d: area(1), class: `area ${hue(pair.second)}` }),
        label(left, height - 6, "1", { class: "soft" }),
        label(width - right, height - 6, `${pair.n.toLocaleString("en")} items`, { "text-anchor": "end", class: "soft" }));
    };
  }

  function histogram(pair) {
    return (width) => {
      const height = Math.min(300, Math.max(200, width * 0.6));
      const [left, right, top, bottom] = [34, 8, 10, height - 24];
      const { reach, counts } = pair.histogram;
      const most = Math.max(...counts, 1);
      const x = linear(-reach, reach, left, width - right);
      const y = linear(0, most, bottom, top);
      const wide = (2 * reach) / counts.length;
      const ticks = steps(-reach, reach, 4);
      const up = steps(0, most, 3);
      return picture(width, height, "Histogram of the differences",
        up.found.filter((tick) => Number.isInteger(tick)).map((tick) => [
          line(left, y(tick), width - right, y(tick), "axis"),
          label(left - 6, y(tick) + 4, amount(tick), { "text-anchor": "end", class: "soft" }),
        ]),
        counts.map((count, place) => {
          const from = -reach + place * wide;
          const second = place >= counts.length / 2;
          return count === 0 ? null : svg("rect", {
            x: x(from) + 0.5, width: Math.max(1, x(from + wide) - x(from) - 1), y: y(count), height: bottom - y(count),
            class: `area ${hue(second ? pair.second : pair.first)}`,
          }, tip(`${signed(from)} to ${signed(from + wide)}: ${count} items`));
        }),
        ticks.found.map((tick) => label(x(tick), height - 6, tickText(tick, ticks.places), { "text-anchor": "middle", class: "soft" })));
    };
  }

  function itemsTable(pair, items) {
    if (!items.length) return html("p", { class: "nothing" }, "None.");
    const texts = data.texts[pair.task];
    const number = (value, text, style = "") => html("td", { class: `number ${style}` }, text ?? score(value));
    return html("table", {},
      html("thead", {}, html("tr", {}, ["Query", data.systems[pair.first].letter, data.systems[pair.second].letter, "Difference"].map(
        (head, place) => html("th", { scope: "col", class: place ? "number" : null, title: place === 1 ? nameOf(pair.first) : place === 2 ? nameOf(pair.second) : null }, head)))),
      html("tbody", {}, items.map(([item, first, second]) => html("tr", {},
        html("td", { class: "text" }, html("bdi", {}, texts[item] ?? item), texts[item] === undefined ? null : html("small", {}, html("bdi", {}, item))),
        number(first, null, first > second ? "best" : ""), number(second, null, second > first ? "best" : ""), number(0, signed(second - first))))));
  }

  function differences() {
    if (!data.pairs.length) return;
    const present = (system) => data.pairs.some((pair) => pair.first === system || pair.second === system);
    const systems = data.systems.map((system, place) => [place, `${system.name} (${system.letter})`]).filter(([place]) => present(place));
    const [first, second, task] = [byId("first"), byId("second"), byId("items-task")];
    choices(first, systems, data.pairs[0].first);
    choices(second, systems, data.pairs[0].second);
    const showItems = () => {
      const pair = pairOf(Number(task.value), Number(first.value), Number(second.value));
      if (!pair || !pair.curve) return;
      const [wins, ties, losses] = pair.record;
      byId("record").textContent = `${wins.toLocaleString("en")} wins, ${ties.toLocaleString("en")} ties, ${losses.toLocaleString("en")} losses of ${nameOf(pair.second)}`;
      chart("curve", curve(pair));
      chart("histogram", histogram(pair));
      byId("wins-title").textContent = `Won by ${nameOf(pair.second)} (${data.systems[pair.second].letter})`;
      byId("losses-title").textContent = `Won by ${nameOf(pair.first)} (${data.systems[pair.first].letter})`;
      byId("wins").replaceChildren(itemsTable(pair, pair.wins));
      byId("losses").replaceChildren(itemsTable(pair, pair.losses));
    };
    const show = () => {
      const [one, other] = [Number(first.value), Number(second.value)];
      chart("forest", forest(one, other));
      const tasks = data.tasks.map((each, place) => [place, each.name]).filter(([place]) => pairOf(place, one, other)?.curve);
      const before = task.value;
      byId("items-part").hidden = tasks.length === 0;
      choices(task, tasks, before);
      showItems();
    };
    const other = (changed, select) => {
      if (first.value !== second.value) return;
      const partner = systems.map(([place]) => place).find((place) => data.pairs.some(
        (pair) => [pair.first, pair.second].includes(place) && [pair.first, pair.second].includes(Number(changed.value)) && place !== Number(changed.value)));
      if (partner !== undefined) select.value = String(partner);
    };
    first.addEventListener("change", () => { other(first, second); show(); });
    second.addEventListener("change", () => { other(second, first); show(); });
    task.addEventListener("change", showItems);
    show();
  }

  // Quality and cost.

  function tradeoff() {
    const section = byId("tradeoff");
    const costs = Object.keys(data.costs).filter((cost) => data.costs[cost].some((row) => row.filter((value) => value > 0).length > 0));
    if (!costs.length) { section.hidden = true; return; }
    const [task, cost] = [byId("tradeoff-task"), byId("tradeoff-cost")];
    choices(cost, costs.map((name) => [name, words(name)]), costs[0]);
    const common = (name) => data.tasks.map((_, place) => place).filter((place) =>
      data.scores[place].every((value) => value !== null) && data.costs[name][place].every((value) => value > 0));
    const mean = (rows, system) => rows.reduce((sum, row) => sum + row[system], 0) / rows.length;
    const show = () => {
      const name = cost.value;
      const shared = common(name);
      const single = data.tasks.map((each, place) => [place, each.name]).filter(([place]) => data.costs[name][place].some((value) => value > 0));
      const before = task.value;
      choices(task, shared.length > 1 ? [["mean", `mean of ${shared.length} tasks`], ...single] : single, before || "mean");
      showChart();
    };
    const showChart = () => {
      const name = cost.value;
      const places = task.value === "mean" ? common(name) : [Number(task.value)];
      const points = data.systems.map((_, system) => ({
        system,
        cost: mean(places.map((place) => data.costs[name][place]), system),
        score: mean(places.map((place) => data.scores[place]), system),
        known: places.every((place) => data.scores[place][system] !== null && data.costs[name][place][system] > 0),
      })).filter((point) => point.known);
      const kinds = new Set(places.map((place) => data.tasks[place].score));
      chart("pareto", pareto(points, name, kinds.size === 1 ? [...kinds][0] : "mean score"));
    };
    cost.addEventListener("change", show);
    task.addEventListener("change", showChart);
    show();
  }

  function pareto(points, cost, scoreName) {
    const speed = cost.endsWith("_per_second");
    const cheaper = (one, other) => (speed ? one.cost >= other.cost : one.cost <= other.cost);
    const beats = (one, other) => cheaper(one, other) && one.score >= other.score && (one.cost !== other.cost || one.score !== other.score);
    return (width) => {
      if (!points.length) return html("p", { class: "nothing" }, "Nothing was measured here.");
      const height = Math.min(420, Math.max(260, width * 0.5));
      const [left, right, top, bottom] = [52, 20, 18, height - 42];
      const [lowest, highest] = [Math.min(...points.map((point) => point.cost)), Math.max(...points.map((point) => point.cost))];
      const scores = points.map((point) => point.score);
      const margin = (Math.max(...scores) - Math.min(...scores)) * 0.15 || Math.max(...scores) * 0.1 || 0.1;
      const logs = highest / lowest > 8;
      const x = logs ? logarithmic(lowest / 1.4, highest * 1.6, left, width - right)
        : linear(Math.max(0, lowest - (highest - lowest) * 0.15 - (highest === lowest ? highest * 0.5 : 0)), highest + ((highest - lowest) * 0.25 || highest * 0.5), left, width - right);
      const y = linear(Math.min(...scores) - margin, Math.max(...scores) + margin, bottom, top);
      const across = logs ? { found: decades(lowest / 1.4, highest * 1.6) } : steps(Math.max(0, lowest * 0.5), highest * 1.3, 5);
      const shownAcross = across.found.filter((tick) => x(tick) >= left && x(tick) <= width - right)
        .filter((tick, place, all) => place === 0 || all.length * 46 < width - left || !logs || /^1e/.test(tick.toExponential()));
      const up = steps(Math.min(...scores) - margin, Math.max(...scores) + margin, 5);
      const front = points.filter((point) => !points.some((other) => beats(other, point))).sort((one, other) => one.cost - other.cost);
      const path = front.map((point, place) => {
        if (place === 0) return `M${x(point.cost)} ${y(point.score)}`;
        return speed ? `V${y(point.score)}H${x(point.cost)}` : `H${x(point.cost)}V${y(point.score)}`;
      }).join("");
      const used = [];
      const labels = [...points].sort((one, other) => y(other.score) - y(one.score)).map((point) => {
        const flip = x(point.cost) > width * 0.62;
        const room = flip ? x(point.cost) - left - 14 : width - x(point.cost) - 14;
        const text = cut(nameOf(point.system), room);
        const span = [flip ? x(point.cost) - text.length * 7.2 : x(point.cost) - 8, flip ? x(point.cost) + 8 : x(point.cost) + text.length * 7.2];
        let place = y(point.score) - 10;
        while (used.some((other) => Math.abs(other.place - place) < 14 && other.span[0] < span[1] && span[0] < other.span[1])) place -= 3;
        used.push({ place, span });
        return label(x(point.cost) + (flip ? 5 : -5), place, text, { "text-anchor": flip ? "end" : "start", class: "halo" });
      });
      return picture(width, height, `${scoreName} by ${words(cost)}`,
        up.found.map((tick) => [line(left, y(tick), width - right, y(tick), "axis"), label(left - 8, y(tick) + 4, tick.toFixed(Math.max(2, up.places)), { "text-anchor": "end", class: "soft" })]),
        shownAcross.map((tick) => [line(x(tick), bottom, x(tick), bottom + 4, "zero"), label(x(tick), bottom + 18, amount(tick), { "text-anchor": "middle", class: "soft" })]),
        line(left, bottom, width - right, bottom, "zero"),
        label(left, 8, scoreName, { class: "soft" }),
        label(width - right, height - 6, `${words(cost)}${logs ? ", logarithmic" : ""} ${speed ? "(more is better →)" : "(← less is better)"}`, { "text-anchor": "end", class: "soft" }),
        svg("path", { d: path, class: "front" }),
        points.map((point) => svg("circle", { cx: x(point.cost), cy: y(point.score), r: 6, class: `${front.includes(point) ? "dot" : "hollow"} ${hue(point.system)}` },
          tip(`${nameOf(point.system)}: ${score(point.score)}, ${words(cost)} ${amount(point.cost)}`))),
        labels);
    };
  }

  // Length effects.

  function lengths() {
    const tasks = data.tasks.map((task, place) => [place, task.name]).filter(([place]) => data.lengths[place]);
    if (!tasks.length) { byId("lengths").hidden = true; return; }
    const task = byId("lengths-task");
    choices(task, tasks, tasks[0][0]);
    const show = () => chart("length", lengthChart(data.lengths[Number(task.value)], data.tasks[Number(task.value)].score));
    task.addEventListener("change", show);
    show();
  }

  function lengthChart(effects, scoreName) {
    return (width) => {
      const height = Math.min(340, Math.max(230, width * 0.4));
      const [left, right, top, bottom] = [52, 12, 22, height - 42];
      const all = effects.systems.flatMap((system) => system.means.flat());
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const y = linear(low - (high - low) * 0.06 - 1e-6, high + (high - low) * 0.06 + 1e-6, bottom, top);
      const x = linear(-0.5, effects.groups.length - 0.5, left, width - right);
      const up = steps(low, high, 5);
      const step = Math.min(9, (x(1) - x(0)) / (effects.systems.length + 2));
      const key = html("ul", { class: "key" }, effects.systems.map((each) => html("li", { class: hue(each.system) },
        html("span", {}, nameOf(each.system)), each.rho === null ? null : html("i", {}, ` ρ ${Math.abs(each.rho) < 0.005 ? "0.00" : tickText(each.rho, 2)}`))));
      return [key, picture(width, height, `${scoreName} by length of the query`,
        up.found.map((tick) => [line(left, y(tick), width - right, y(tick), "axis"), label(left - 8, y(tick) + 4, tick.toFixed(Math.max(2, up.places)), { "text-anchor": "end", class: "soft" })]),
        label(left, 10, scoreName, { class: "soft" }),
        effects.groups.map(([from, to, n], place) => [
          label(x(place), bottom + 18, from === to ? String(from) : `${from}–${to}`, { "text-anchor": "middle", class: "soft" }, tip(`${n} items`)),
        ]),
        label(width - right, height - 6, `${effects.unit} of the query`, { "text-anchor": "end", class: "soft" }),
        effects.systems.map((each, order) => {
          const shift = (order - (effects.systems.length - 1) / 2) * step;
          return svg("g", { class: hue(each.system) },
            svg("path", { class: "trend", d: each.means.map(([value], place) => `${place ? "L" : "M"}${x(place) + shift} ${y(value)}`).join("") }),
            each.means.map(([value, from, to], place) => [
              line(x(place) + shift, y(from), x(place) + shift, y(to), "whisker"),
              svg("circle", { cx: x(place) + shift, cy: y(value), r: 4, class: "dot" },
                tip(`${nameOf(each.system)}: ${score(value)} [${score(from)}, ${score(to)}], ${effects.groups[place][2]} items`)),
            ]));
        }))];
    };
  }

  // The page around.

  function contents() {
    const sections = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
    byId("contents").append(...sections.map((section) => html("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
  }

  function theme() {
    const button = byId("theme");
    const root = document.documentElement;
    const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
    say();
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  differences();
  tradeoff();
  lengths();
  contents();
  theme();
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
