"use strict";
// The viewer of one case. Positions in the data are LPS mm, as in report.json; NiiVue uses RAS mm.
(() => {
  const of = (id) => document.getElementById(id);
  const data = JSON.parse(of("case-data").textContent);
  const rows = [...document.querySelectorAll("tr[data-lesion]")];
  const canvas = of("viewer"), marks = of("marks");
  const lesionOf = new Map(data.lesions.map((lesion) => [lesion.id, lesion]));
  let nv = null, current = null;

  const toRas = ([x, y, z]) => [-x, -y, z];
  const colourOf = (id) => data.colours[(id - 1) % data.colours.length];

  function withoutViewer(sentence) {
    of("viewer-section").hidden = true;
    of("no-viewer").textContent = sentence;
    of("no-viewer").hidden = false;
    rows.forEach((row) => row.removeAttribute("tabindex"));
  }

  function hasWebGL2() {
    const gl = document.createElement("canvas").getContext("webgl2");
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return gl !== null;
  }

  // The label map's colours: 0 is transparent, 1 the liver, 2 lesion 1, 3 lesion 2, and so on.
  function labelColours() {
    const rgba = [[0, 0, 0, 0], [...data.liverColour, 255]];
    for (let id = 1; id <= 254; id++) rgba.push([...colourOf(id), 255]);
    const channel = (at) => rgba.map((colour) => colour[at]);
    return { R: channel(0), G: channel(1), B: channel(2), A: channel(3), I: rgba.map((_, index) => index) };
  }

  async function volumeOf(id, name, options) {
    return niivue.NVImage.loadFromBase64({ base64: of(id).textContent, name, ...options });
  }

  async function showPlanes() {
    nv = new niivue.Niivue({
      isRadiologicalConvention: true, backColor: [0, 0, 0, 1], crosshairColor: [1, 0.85, 0.2, 0.9], crosshairWidth: 0.6,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
      isColorbar: false, dragAndDropEnabled: false, logLevel: "error", isOrientationTextVisible: true,
      fontColor: [1, 1, 1, 1], fontMinPx: 15,
    });
    await nv.attachToCanvas(canvas);
    const [low, high] = of("window").value.split(",").map(Number);
    nv.addVolume(await volumeOf("ct-volume", "ct.nii.gz", { colormap: "gray", cal_min: low, cal_max: high }));
    const labels = await volumeOf("label-volume", "labels.nii.gz", { opacity: Number(of("opacity").value) / 100 });
    labels.setColormapLabel(labelColours());
    nv.addVolume(labels);
    nv.setInterpolation(false);
    arrange();
    const draw = nv.drawScene.bind(nv);
    nv.drawScene = (...given) => { const drawn = draw(...given); drawMarks(); return drawn; };
    nv.onLocationChange = (location) => say(location.mm);
  }

  // Show one plane, or all: the axial plane large, with the others beside or below it.
  function arrange() {
    const chosen = Number(of("planes").value), wide = canvas.clientWidth > canvas.clientHeight;
    const places = wide
      ? [[0, 0, 0.62, 1], [0.62, 0, 0.38, 0.5], [0.62, 0.5, 0.38, 0.5]]
      : [[0, 0, 1, 0.62], [0, 0.62, 0.5, 0.38], [0.5, 0.62, 0.5, 0.38]];
    if (chosen === 3) nv.setCustomLayout(places.map((position, sliceType) => ({ sliceType, position })));
    else nv.clearCustomLayout();
    nv.setSliceType(chosen);
  }

  async function showSolid() {
    const solid = new niivue.Niivue({
      backColor: [0, 0, 0, 1], show3Dcrosshair: false, isColorbar: false, dragAndDropEnabled: false, logLevel: "error",
      isOrientCube: false, isOrientationTextVisible: false, isRadiologicalConvention: true,
    });
    await solid.attachToCanvas(of("solid"));
    const [r, g, b] = data.liverColour;
    const alpha = data.lesions.length ? [0, 4, 16] : [0, 6, 30]; // lesions are seen through the liver
    solid.addColormap("body", { R: [0, r, r], G: [0, g, g], B: [0, b, b], A: alpha, I: [0, 100, 255] });
    solid.addVolume(await volumeOf("solid-volume", "liver.nii.gz", { colormap: "body", cal_min: 60, cal_max: 255 }));
    const lesions = await volumeOf("solid-lesions-volume", "lesions.nii.gz", {});
    lesions.setColormapLabel(labelColours());
    solid.addVolume(lesions);
    solid.setSliceType(solid.sliceTypeRender);
    solid.setRenderAzimuthElevation(180, 10);
    solid.setScale(1.3);
    return solid;
  }

  function say(mm) {
    const [x, y, z] = toRas(mm).map((value) => value.toFixed(1));
    const lesion = lesionOf.get(current);
    of("where").textContent = (lesion ? `${lesion.title}. ` : "") + `Crosshair at ${x}, ${y}, ${z} mm (left, back, head).`;
  }

  function goTo(place) {
    nv.scene.crosshairPos = nv.mm2frac(toRas(place), 0, true);
    nv.createOnLocationChange();
    nv.drawScene();
  }

  function select(id, focus) {
    current = id;
    for (const row of rows) {
      const own = Number(row.dataset.lesion) === id;
      row.toggleAttribute("aria-current", own);
      if (own) row.setAttribute("aria-current", "true");
      row.tabIndex = own ? 0 : -1;
      if (own && focus) row.focus();
    }
    document.querySelectorAll("#pictures figure").forEach((figure) => figure.classList.toggle("current", figure.id === `lesion-${id}`));
    of("to-diameters").hidden = false;
    goTo(lesionOf.get(id).centroid);
  }

  function step(by) {
    const at = rows.findIndex((row) => Number(row.dataset.lesion) === current);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next) select(Number(next.dataset.lesion), true);
  }

  // A point's position on the axial picture in CSS pixels and its distance from the plane in mm; null if not visible.
  function onAxial(place) {
    const tile = nv.screenSlices.find((slice) => slice.axCorSag === 0 && slice.AxyzMxy.length > 3);
    if (!tile) return null;
    const mm = nv.frac2mm(nv.mm2frac(toRas(place), 0, true));
    const shown = nv.frac2mm(nv.scene.crosshairPos);
    let [left, top, width, height] = tile.leftTopWidthHeight;
    let across = (mm[0] - tile.leftTopMM[0]) / tile.fovMM[0];
    const up = (mm[1] - tile.leftTopMM[1]) / tile.fovMM[1];
    if (width < 0) { left += width; width = -width; across = 1 - across; }
    if (across < 0 || across > 1 || up < 0 || up > 1) return null;
    const scale = canvas.clientWidth / canvas.width;
    return { x: (left + across * width) * scale, y: (top + (1 - up) * height) * scale, away: Math.abs(mm[2] - shown[2]) };
  }

  function drawnLine(lesion, ends) {
    const [from, to] = ends.map(onAxial);
    if (!from || !to) return [];
    const here = Math.max(from.away, to.away) <= data.sliceMm / 2 + 0.1;
    if (!here && lesion.id !== current) return [];
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const at = { x1: from.x, y1: from.y, x2: to.x, y2: to.y, class: here ? "diameter" : "diameter elsewhere" };
    Object.entries(at).forEach(([name, value]) => line.setAttribute(name, value));
    return [line];
  }

  function drawnNumber(lesion) {
    const at = onAxial(lesion.centroid);
    if (!at || at.away > lesion.heightMm / 2) return [];
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    Object.entries({ x: at.x + 8, y: at.y - 8, fill: `rgb(${colourOf(lesion.id)})` }).forEach(([name, value]) => text.setAttribute(name, value));
    text.textContent = lesion.id;
    return [text];
  }

  function drawMarks() {
    const shown = of("overlay").checked ? data.lesions : [];
    marks.replaceChildren(...shown.flatMap((lesion) => [
      ...drawnLine(lesion, lesion.longestEnds), ...drawnLine(lesion, lesion.perpendicularEnds), ...drawnNumber(lesion),
    ]));
  }

  function showOverlay() {
    nv.setOpacity(1, of("overlay").checked ? Number(of("opacity").value) / 100 : 0);
    nv.drawScene();
  }

  function listen() {
    rows.forEach((row) => row.addEventListener("click", () => select(Number(row.dataset.lesion), true)));
    of("lesions").addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Enter: 0, " ": 0 }[event.key];
      if (by === undefined || !event.target.closest("tr[data-lesion]")) return;
      event.preventDefault();
      if (by === 0 || current === null) select(Number(event.target.closest("tr").dataset.lesion), true);
      else step(by);
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      nv.moveCrosshairInVox(0, 0, by);
    });
    of("overlay").addEventListener("change", showOverlay);
    of("opacity").addEventListener("input", showOverlay);
    of("planes").addEventListener("change", arrange);
    window.addEventListener("resize", arrange);
    of("window").addEventListener("change", (event) => {
      [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = event.target.value.split(",").map(Number);
      nv.updateGLVolume();
    });
    of("to-diameters").addEventListener("click", () => {
      const [from, to] = lesionOf.get(current).longestEnds;
      goTo(from.map((value, axis) => (value + to[axis]) / 2));
    });
    document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  }

  async function start() {
    if (!hasWebGL2()) {
      withoutViewer("This browser does not support WebGL 2, so the viewer cannot start. The pictures below show the liver and each lesion.");
      return;
    }
    try {
      await showPlanes();
      const solid = of("solid") ? await showSolid() : null;
      listen();
      if (data.lesions.length) select(data.lesions[0].id, false); else goTo(data.middle);
      window.liverseg = {
        nv, solid, select,
        crosshair: () => toRas(nv.frac2mm(nv.scene.crosshairPos, 0, true)), // LPS mm
      };
      document.documentElement.dataset.viewer = "ready";
    } catch (error) {
      withoutViewer(`The viewer could not start (${error.message}). The pictures below show the liver and each lesion.`);
    }
  }

  start();
})();
