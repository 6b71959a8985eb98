// Pressing a map switches it between overlay, map alone and picture; the radio buttons above
// switch all maps and work without this script.
const order = ["overlay", "map", "picture"];
const chosen = () => order.find((name) => document.getElementById(`show-${name}`).checked);

for (const stage of document.querySelectorAll(".stage")) {
  stage.tabIndex = 0;
  stage.setAttribute("role", "button");
  const step = () => {
    const now = stage.dataset.show ?? chosen();
    stage.dataset.show = order[(order.indexOf(now) + 1) % order.length];
    stage.setAttribute("aria-label", `showing the ${stage.dataset.show}; press for the next view`);
  };
  stage.addEventListener("click", step);
  stage.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    step();
  });
}

for (const radio of document.querySelectorAll("input[name=show]")) {
  radio.addEventListener("change", () => {
    for (const stage of document.querySelectorAll(".stage[data-show]")) delete stage.dataset.show;
  });
}

// Closed details would be missing in print.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
