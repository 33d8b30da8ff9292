
"use strict";
const SAYS = {
  en: {
    language: "Language", text: "Text", send: "Classify", sending: "Asking…",
    shortcut: "or Ctrl + Enter", key: "Access key", useKey: "Use key",
    keyNote: "This endpoint answers only to those who have a key. It is kept in this tab, and forgotten when you close it.",
    keyUsed: "Answers come with your key.", forget: "Forget it",
    labels: "Labels", words: "Words that moved the answer", weights: "The weights in numbers",
    word: "Word", weight: "Weight",
    logOdds: "How much each word adds to the label's log-odds; below zero it speaks against it.",
    answeredBy: "Answered by", took: "Took", requestId: "Request",
    truncated: "The text is longer than the model reads; only its beginning counted.",
    choose: "Model", plain: (first, more) => `Words${more ? ", and labels after the likeliest," : ""} are shown for ${first} alone.`,
    version: "version", hint: "Type a text and see what the model says.",
    characters: (n, most) => most ? `${n} of ${most} characters` : `${n} ${n === "1" ? "character" : "characters"}`,
    more: (shown, all) => `The ${shown} likeliest of ${all} labels.`,
    abstained: (label, score) => `No answer: the model isn't sure enough.\nThe likeliest label would be ${label}, with ${score}.`,
    spoke: (label) => [`spoke for ${label}`, "spoke against it"],
    noWords: "No word of the text moved the answer.",
    seconds: (all, there) => there ? `${all}, ${there} of it on the server` : all,
    empty: "Type a text first.", noKey: "That isn't a key; keys begin with bmk_.",
    unreachable: "The endpoint can't be reached. Is it still running?",
    late: (s) => `No answer within ${s} seconds.`,
    status: (n) => `The endpoint answered with status ${n} and no explanation.`,
    strange: "The endpoint's answer can't be read.",
    again: (s) => `Try again in ${s} ${s === "1" ? "second" : "seconds"}.`,
    kinds: {},
  },
  zh: {
    language: "语言", text: "文本", send: "分类", sending: "请稍候…",
    shortcut: "或按 Ctrl + Enter", key: "访问密钥", useKey: "使用密钥",
    keyNote: "此服务需要密钥才能访问。密钥只保存在当前标签页，关闭后即清除。",
    keyUsed: "正在使用您的密钥。", forget: "清除密钥",
    labels: "标签", words: "影响结果的词", weights: "查看权重数值",
    word: "词", weight: "权重",
    logOdds: "每个词使该标签的对数几率增加多少；小于零表示反对该标签。",
    answeredBy: "模型", took: "用时", requestId: "请求编号",
    truncated: "文本超出模型可读的长度，只读取了开头部分。",
    choose: "选择模型", plain: (first, more) => `只有 ${first} 会列出影响结果的词${more ? "和其他标签" : ""}。`,
    version: "版本", hint: "输入一段文本，看看模型如何判断。",
    characters: (n, most) => most ? `${n} / ${most} 字` : `${n} 字`,
    more: (shown, all) => `共 ${all} 个标签，此处列出可能性最高的 ${shown} 个。`,
    abstained: (label, score) => `不作答：模型把握不足。\n可能性最高的标签是“${label}”，为 ${score}。`,
    spoke: (label) => [`支持“${label}”`, "反对该标签"],
    noWords: "没有哪个词影响了结果。",
    seconds: (all, there) => there ? `${all}（其中服务端 ${there}）` : all,
    empty: "请先输入文本。", noKey: "这不是密钥；密钥以 bmk_ 开头。",
    unreachable: "无法连接服务，请确认它仍在运行。",
    late: (s) => `${s} 秒内没有得到回答。`,
    status: (n) => `服务返回状态 ${n}，没有说明原因。`,
    strange: "无法读取服务的回答。",
    again: (s) => `请在 ${s} 秒后重试。`,
    kinds: {
      "no-key": "需要密钥。", "wrong-key": "密钥无效。", "expired-key": "密钥已过期。",
      "missing-scope": "此密钥没有所需的权限。", "rate": "此密钥的请求过于频繁。",
      "blank-item": "文本为空。", "item-too-long": "文本过长。", "too-many-characters": "文本过长。",
      "body-too-large": "文本过长。", "busy": "服务繁忙。", "draining": "服务即将停止。",
      "not-ready": "模型尚未就绪。", "deadline": "未能在规定时间内得出结果。",
      "internal": "服务内部出错。",
    },
  },
};
const MOST_LABELS = 8, FEW_LABELS = 2, WAIT_S = 30, KEY = "bigmodel-key";
const $ = (id) => document.getElementById(id);

let language = (navigator.language || "").startsWith("zh") ? "zh" : "en";
let names = [];      // of the models, the default first, where we may see them
let model = null;    // the chosen one's metadata, where we may see it
let outcome = null;  // {answer, text, took, there} or {problem}: what is shown, in any language
const says = () => SAYS[language];

class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(); Object.assign(this, { status, problem, retryAfter });
  }
  get kind() { return String(this.problem?.type ?? "").split(":").pop() }
  describe() {
    const detail = this.problem?.detail ?? this.problem?.title;
    const first = says().kinds[this.kind] ?? (detail ? "" : says().status(this.status));
    const again = this.retryAfter ? says().again(this.retryAfter) : "";
    return [first, detail && sentence(detail), again].filter(Boolean).join("\n");
  }
}
class Failed extends Error {
  constructor(describe) { super(); this.describe = describe }
}

async function ask(path, body) {
  const headers = {}, key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const init = { headers, cache: "no-store", signal: AbortSignal.timeout(WAIT_S * 1000) };
  if (body) Object.assign(init, { method: "POST", body: JSON.stringify(body) });
  let response, found;
  try {
    response = await fetch(path, init);
    found = await response.text();
  } catch (error) {
    throw new Failed(() => error.name === "TimeoutError" ? says().late(WAIT_S) : says().unreachable);
  }
  try { found = JSON.parse(found) } catch { found = null }
  if (!response.ok) throw new Refused(response.status, found, response.headers.get("Retry-After"));
  if (found === null) throw new Failed(() => says().strange);
  return [found, response.headers];
}

async function classify(text) {
  if (model && model.name !== names[0]) return infer(text);
  const most = model ? Math.min(MOST_LABELS, model.labels.length) : MOST_LABELS;
  const with_ = (top_k) => {
    const parameters = { top_k, explain: true, truncate: true };
    return ask("v1/classify", { inputs: text, parameters });
  };
  try {
    return await with_(most);
  } catch (error) {
    if (error.kind !== "top-k-out-of-range") throw error;
    return await with_(FEW_LABELS);  // every model has as many
  }
}

async function infer(text) {
  const body = {
    inputs: [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }],
    outputs: [{ name: "label" }, { name: "score" }], parameters: { top_k: FEW_LABELS },
  };
  const [found, headers] = await ask(`${path(model.name)}/infer`, body);
  const [[first], scores] = found.outputs.map(({ data }) => data);
  const two = model.labels.length === 2 ? model.labels.filter((one) => one !== first) : [];
  const labels = [first, ...two].map((label, place) => ({ label, score: scores[place] }));
  const answer = {
    model: found.model_name, version: found.model_version, request_id: found.id, plain: true,
    predictions: [{ labels, abstained: false, truncated: false }],
  };
  return [answer, headers];
}

async function send() {
  const text = $("text").value;
  if (!text.trim()) {
    $("text").focus();
    return show({ problem: new Failed(() => says().empty) });
  }
  busy(true);
  const begun = performance.now();
  try {
    const [answer, headers] = await classify(text);
    const took = performance.now() - begun;
    if (!answer.predictions?.[0]?.labels?.length) throw new Failed(() => says().strange);
    show({ answer, text, took, there: durations(headers.get("Server-Timing")) });
  } catch (problem) {
    refused(problem);
  } finally {
    busy(false);
  }
}

async function look(chosen) {
  try {
    const [server] = await ask("v2");
    names = server.models ?? [];
    if (!names.length) return;
    [model] = await ask(path(names.includes(chosen) ? chosen : names[0]));
    draw();
  } catch (problem) {
    if (problem.status === 401) askForKey(sessionStorage.getItem(KEY) && problem);
  }
}

const path = (name) => `v2/models/${encodeURIComponent(name)}`;

function refused(problem) {
  if (problem.status === 401) return askForKey(problem);
  show({ problem: problem.describe ? problem : new Failed(() => says().strange) });
}

function askForKey(problem) {
  sessionStorage.removeItem(KEY);
  $("key-form").hidden = false;
  $("key").focus();
  show(problem ? { problem } : null);
}

function busy(is) {
  $("send").disabled = is;
  $("send").textContent = is ? says().sending : says().send;
  $("form").setAttribute("aria-busy", is);
}

function show(next) {
  outcome = next;
  draw();
}

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  $(language).checked = true;
  for (const each of document.querySelectorAll("[data-says]"))
    each.textContent = says()[each.dataset.says];
  $("model").textContent = model?.name ?? "bigmodel";
  document.title = model ? `${model.name} · bigmodel` : "bigmodel";
  $("version").textContent = says().hint;
  $("choice").hidden = names.length < 2;
  $("models").replaceChildren(...names.map((name) => new Option(name, name, false, name === model?.name)));
  $("key-used").hidden = !sessionStorage.getItem(KEY);
  count();
  const { problem, answer } = outcome ?? {};
  $("problem").hidden = !problem;
  ($("key-form").hidden ? $("form") : $("key-form")).append($("problem"));
  $("problem").textContent = problem ? problem.describe() : "";
  $("result").hidden = !answer;
  if (answer) drawAnswer(outcome);
}

function drawAnswer({ answer, text, took, there }) {
  const { plain } = answer;
  const [{ labels, abstained, truncated, words }] = answer.predictions;
  const [best] = labels, all = model?.labels.length ?? labels.length;
  $("verdict").className = abstained ? "verdict unsure" : "verdict";
  $("verdict").textContent = abstained
    ? says().abstained(best.label, percent(best.score)) : `${best.label} ${percent(best.score)}`;
  $("truncated").hidden = !truncated;
  $("bars").replaceChildren(...labels.map(bar));
  $("more").hidden = !plain && all <= labels.length;
  $("more").textContent = plain ? says().plain(names[0], all > labels.length) : says().more(labels.length, all);
  $("explained").hidden = !words;
  if (words) drawWords(words, text, best.label);
  $("by").textContent = `${answer.model} · ${says().version} ${answer.version}`;
  $("took").textContent = says().seconds(milliseconds(took), there && milliseconds(there));
  $("request").textContent = answer.request_id;
}

function bar({ label, score }) {
  const row = element("li"), track = element("span", "track"), inside = element("div", "bar");
  inside.style.width = `${100 * score}%`;
  track.append(inside);
  row.append(element("span", "name", label), track, element("span", "number", percent(score)));
  return row;
}

function drawWords(all, text, label) {
  const characters = Array.from(text);  // positions count these, not UTF-16 units
  const strongest = all.reduce((most, { weight }) => Math.max(most, Math.abs(weight)), 0);
  const words = all.filter(({ weight }) => Math.abs(weight) >= strongest / 50);
  const parts = [];
  let end = 0;
  for (const { start, end: stop, weight } of words) {
    parts.push(characters.slice(end, start).join(""));
    const part = element("span", weight > 0 ? "for" : "against", characters.slice(start, stop).join(""));
    const share = Math.abs(weight) / strongest;
    part.style.setProperty("--share", (0.45 * share).toFixed(3));
    part.style.setProperty("--line-share", Math.sqrt(share).toFixed(3));
    part.title = signed(weight);
    parts.push(part);
    end = stop;
  }
  $("words").replaceChildren(...parts, characters.slice(end).join(""));
  const [yes, no] = says().spoke(label);
  $("legend").replaceChildren(...(words.length
    ? [element("span", "for", yes), " ", element("span", "against", no)] : [says().noWords]));
  $("weights").hidden = !words.length;
  const sorted = [...words].sort((one, other) => Math.abs(other.weight) - Math.abs(one.weight));
  $("rows").replaceChildren(...sorted.map(({ text: word, weight }) => {
    const row = element("tr");
    row.append(element("td", "", word), element("td", "number", signed(weight)));
    return row;
  }));
}

function element(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function percent(share) {
  const tenths = Math.round(1000 * share) / 10;
  if (tenths === 100 && share < 1) return ">99.9%";
  if (tenths === 0 && share > 0) return "<0.1%";
  return `${tenths.toFixed(1)}%`;
}

const signed = (weight) => `${weight < 0 ? "−" : "+"}${Math.abs(weight).toFixed(2)}`;
const milliseconds = (ms) => ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
const sentence = (detail) =>
  detail[0].toUpperCase() + detail.slice(1) + (/[.!?。！？]$/.test(detail) ? "" : ".");

function durations(header) {
  const found = [...(header ?? "").matchAll(/(\w+)\s*;\s*dur=([\d.]+)/g)];
  const total = found.find(([, name]) => name === "total");
  return total ? Number(total[2]) : found.reduce((sum, [, , ms]) => sum + Number(ms), 0);
}

function count() {
  const many = Array.from($("text").value).length.toLocaleString(language);
  $("count").textContent = says().characters(many, model?.limits?.item_characters?.toLocaleString(language));
}

$("form").onsubmit = (event) => { event.preventDefault(); send() };
$("text").oninput = count;
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing && !$("send").disabled) {
    event.preventDefault();
    send();
  }
};
$("key-form").onsubmit = async (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  if (!/^bmk_[!-~]+$/.test(key)) return show({ problem: new Failed(() => says().noKey) });
  sessionStorage.setItem(KEY, key);
  $("key").value = "";
  $("key-form").hidden = true;
  show(null);
  await look();
  if ($("key-form").hidden && $("text").value.trim()) send();
};
$("models").onchange = async () => { await look($("models").value); show(null) };
$("forget").onclick = () => { sessionStorage.removeItem(KEY); names = []; model = null; show(null); look() };
for (const choice of document.getElementsByName("language"))
  choice.onchange = () => { language = choice.value; draw(); if ($("send").disabled) busy(true) };
draw();
look();
