declare module "*.css" { const text: string; export default text; }
declare module "english" { const texts: Record<string, string>; export default texts; }
declare module "assets" { const assets: import("./views/assets").Assets; export default assets; }
