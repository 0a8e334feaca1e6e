/** Python that runs in the debugged program is kept in files of its own; the build inlines their text. */
declare module "*.py" {
  const text: string;
  export default text;
}
