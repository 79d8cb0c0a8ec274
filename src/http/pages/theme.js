/**
 * The switch for light and dark, on every page. It runs before the page is drawn, so that nothing flashes. A choice
 * that equals the system's is forgotten: the page then follows the system again.
 */
(() => {
  const KEY = "maxtalk-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  /** The reader's choice, `light` or `dark`; null where there is none, or where the browser stores nothing. */
  function chosen() {
    try {
      const theme = localStorage.getItem(KEY);
      return ["light", "dark"].includes(theme) ? theme : null;
    } catch {
      return null;
    }
  }

  function choose(theme) {
    try {
      if (theme) localStorage.setItem(KEY, theme);
      else localStorage.removeItem(KEY);
    } catch {
      // The choice then holds for this page alone.
    }
  }

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  function apply(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark()));
  }

  apply(chosen());
  system.addEventListener("change", () => apply(chosen()));
  // Windows of one browser share the choice.
  addEventListener("storage", ({ key }) => key === KEY && apply(chosen()));
  document.addEventListener("DOMContentLoaded", () => {
    apply(chosen());
    document.getElementById("theme").addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      const kept = (theme === "dark") === system.matches ? null : theme;
      choose(kept);
      apply(kept);
    });
  });
})();
