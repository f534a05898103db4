// Replaces parts of the page with what luci pushes, and shows whether the link to luci is alive. Everything on the
// pages works without this script.
"use strict";

(() => {
  const back = document.querySelector("[data-back]");
  if (back) back.addEventListener("click", () => history.back());

  const url = document.body.dataset.live;
  const light = document.getElementById("link-state");
  if (!url || !window.EventSource) return;
  const waiting = new Map();

  const say = (kind, text) => {
    if (!light || light.dataset.kind === kind) return;
    light.dataset.kind = kind;
    light.textContent = text;
  };

  // A part in which somebody is typing or choosing is replaced when they are done.
  const busy = (element) => {
    const active = document.activeElement;
    return active && element.contains(active) && active.matches("input:not([type=hidden]), select, textarea");
  };

  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    if (busy(old)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    const kept = [...old.querySelectorAll("select[id], input[id]:not([type=hidden])")].map((field) => [field.id, field.value, field.checked]);
    const focus = document.activeElement && old.contains(document.activeElement) ? document.activeElement.dataset.test : null;
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.querySelector("#" + CSS.escape(id));
    if (!fresh) return;
    old.replaceWith(fresh);
    for (const details of open) document.getElementById(details)?.setAttribute("open", "");
    for (const [field, value, checked] of kept) {
      const element = document.getElementById(field);
      if (!element || !fresh.contains(element)) continue;
      element.value = value;
      if (checked !== undefined) element.checked = checked;
    }
    if (focus) fresh.querySelector(`[data-test="${CSS.escape(focus)}"]`)?.focus();
  };

  document.addEventListener("focusout", () => {
    setTimeout(() => {
      for (const [id, html] of [...waiting]) replace(id, html);
    });
  });

  const source = new EventSource(url);
  source.addEventListener("panel", (event) => {
    const part = JSON.parse(event.data);
    say("ok", "Live");
    replace(part.id, part.html);
  });
  source.onopen = () => say("ok", "Live");
  source.onerror = () => {
    say("bad", source.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Not live: reconnecting");
    document.body.classList.add("unlinked");
  };
  source.addEventListener("open", () => document.body.classList.remove("unlinked"));
})();
