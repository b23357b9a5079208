#!/usr/bin/env python3
"""Reads what bench/gpu_suite.sh left in a folder, writes summary.json and environment.json there, prints a table.

usage: bench/summarize.py OUT_DIR

Exit status 0 only when every step proved that it ran and passed.
"""
import csv
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

SANITIZER_LINE = re.compile(r"=+ (?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)")
GTEST_RAN = re.compile(r"^\[==========\] (\d+) tests? from .* ran\.", re.MULTILINE)
SANITIZERS = ["memcheck", "racecheck", "initcheck", "synccheck"]
REQUIRED = ["environment", "cuda-tests", "tests", *(f"sanitizer:{tool}" for tool in SANITIZERS), "bench"]
DTYPES = ["f64", "f32", "f16", "bf16"]


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_environment(out):
    """environment.txt holds name=value lines; nvidia-smi.txt the query."""
    environment = dict(line.split("=", 1) for line in read(f"{out}/environment.txt").splitlines() if "=" in line)
    wanted = re.compile(
        r"^\s*(Driver Version|CUDA Version|Product Name|VBIOS Version|Performance State|Total|SM|Memory|Graphics"
        r"|Current|GPU Current Temp|Current Power Limit|Power Draw|Instantaneous Power Draw)\s*:")
    query = read(f"{out}/nvidia-smi.txt").splitlines()
    environment["nvidia_smi"] = [line.strip() for line in query if wanted.match(line)]
    return environment


def check_tests(out, step):
    """Problems of a test program, or of a whole ctest run, by its XML; and its numbers."""
    numbers = {"run": 0, "failed": 0, "skipped": 0, "failing": []}
    try:
        root = ElementTree.parse(f"{out}/tests/{step['name']}.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return ["left no test report"], numbers
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            numbers["failed"] += 1
            numbers["failing"].append(name)
        elif case.find("skipped") is not None or case.get("result") == "skipped" or case.get("status") == "notrun":
            numbers["skipped"] += 1
            continue
        numbers["run"] += 1
    problems = []
    if numbers["failed"]:
        problems.append(f"{numbers['failed']} failed")
    if numbers["run"] == 0:
        problems.append("no test ran")
    if step["kind"] == "cuda-tests" and numbers["skipped"]:
        problems.append(f"{numbers['skipped']} skipped")
    return problems, numbers


def check_sanitizer(out, step):
    """A verdict counts only with the tool's summary line and tests that ran under it."""
    log = read(f"{out}/{step['log']}")
    summaries = [int(n) for n in SANITIZER_LINE.findall(log)]
    tests = sum(int(n) for n in GTEST_RAN.findall(log))
    problems = []
    if not summaries:
        problems.append("no summary line: the tool did not finish")
    elif sum(summaries):
        problems.append(f"{sum(summaries)} errors or hazards")
    if tests == 0:
        problems.append("no test ran under it")
    if "[  SKIPPED ]" in log:
        problems.append("tests were skipped under it")
    return problems, {"summaries": len(summaries), "errors": sum(summaries), "tests": tests}


def check_bench(out, step, dry_run):
    text = read(f"{out}/bench/{step['name']}.json")
    problems = []
    try:
        result = json.loads(text)
    except ValueError:
        problems.append("its JSON file is not whole")
        try:  # a program that was stopped leaves the measurements before
            result = json.loads(text[: text.rindex("},") + 1] + "]}")
        except ValueError:
            return problems, []
    records = [r for r in result.get("benchmarks", []) if "GB/s" in r]
    failed = [r["name"] for r in result.get("benchmarks", []) if "GB/s" not in r]
    if failed:
        problems.append(f"{len(failed)} measurements failed, first {failed[0]}")
    if not records:
        problems.append("no measurement")
    if result.get("context", {}).get("device") == "cpu" and not dry_run:
        problems.append("measured the CPU")
    return problems, records


def best_by_operation(records):
    """{operation: {dtype: best GB/s, its % of the baseline, the worst % at the largest size}}, cold where possible."""
    table = {}
    for r in records:
        operation, variant, dtype, size = r["name"].split("/")[:4]
        row = table.setdefault(operation, {}).setdefault(dtype, [])
        row.append({"variant": variant, "bytes": int(size), "rate": r["GB/s"], "percent": r["percent_of_baseline"],
                    "cold": r["cold"], "tflops": r.get("TFLOP/s")})
    best = {}
    for operation, dtypes in table.items():
        for dtype, row in dtypes.items():
            row = [r for r in row if r["cold"]] or row
            top = max(row, key=lambda r: r["rate"])
            largest = [r for r in row if r["bytes"] == max(r["bytes"] for r in row)]
            worst = min(largest, key=lambda r: r["percent"])
            best.setdefault(operation, {})[dtype] = {
                "best_GB/s": top["rate"], "best_percent_of_baseline": top["percent"], "best_variant": top["variant"],
                "worst_percent_of_baseline_at_largest": worst["percent"], "worst_variant": worst["variant"],
                "best_TFLOP/s": max((r["tflops"] for r in row if r["tflops"]), default=None)}
    return best


def floors(records):
    """How many measurements have a floor, and those below theirs, the farthest first."""
    held = [r for r in records if r.get("floor_percent", 0) > 0]
    below = sorted((r for r in held if r["percent_of_baseline"] < r["floor_percent"]),
                   key=lambda r: r["percent_of_baseline"] / r["floor_percent"])
    return {"measurements": len(held), "below": [
        {"name": "/".join(r["name"].split("/")[:4]), "percent_of_baseline": r["percent_of_baseline"],
         "floor_percent": r["floor_percent"], "baseline": r.get("label", "")} for r in below]}


def print_table(summary):
    if summary["dry_run"]:
        print("DRY RUN: no GPU was asked for; the numbers below prove nothing about one")
    if summary["operations"]:
        print(f"{'best GB/s, best % of the baseline / worst variant % at the largest size':<64}")
        print(f"{'operation':<22}" + "".join(f"{d:>19}" for d in DTYPES))
        for operation, dtypes in list(summary["operations"].items())[:32]:
            cells = []
            for d in DTYPES:
                c = dtypes.get(d)
                if c is None:
                    cells.append("-")
                elif c["best_TFLOP/s"]:
                    cells.append(f"{c['best_TFLOP/s']:.2f} TFLOP/s")
                else:
                    cells.append(f"{c['best_GB/s']:.0f} {c['best_percent_of_baseline']:.0f}/"
                                 f"{c['worst_percent_of_baseline_at_largest']:.0f}")
            print(f"{operation:<22}" + "".join(f"{c:>19}" for c in cells))
        held = summary["floors"]
        if held["measurements"]:
            print(f"{held['measurements'] - len(held['below'])} of {held['measurements']} measurements with a floor reach it")
        for r in held["below"][:8]:
            print(f"  BELOW {r['name']}: {r['percent_of_baseline']:.1f} % of {r['baseline']}, floor {r['floor_percent']:.0f} %")
    for kind in ("tests", "cuda-tests"):
        t = summary["tests"].get(kind)
        if t:
            print(f"{kind:<12} {t['run']} run, {t['failed']} failed, {t['skipped']} skipped")
            for name in t["failing"][:4]:
                print(f"  FAILED {name}"[:110])
    for tool in SANITIZERS:
        s = summary["sanitizers"].get(tool)
        if s is None:
            continue
        print(f"{tool:<12} {s['verdict']}: {s['programs']} programs, {s['tests']} tests, {s['errors']} errors")
    bad = [s for s in summary["steps"] if s["problems"]]
    for s in bad[:12]:
        print(f"PROBLEM {s['kind']} {s['name']}: {'; '.join(s['problems'])} ({s['log']})"[:118])
    if len(bad) > 12:
        print(f"... and {len(bad) - 12} more, in summary.json")
    print(f"gpu_suite: {'PASS' if summary['pass'] else 'FAIL'}"
          f"{' (dry run)' if summary['dry_run'] else ''}: {len(summary['steps']) - len(bad)} of "
          f"{len(summary['steps'])} steps passed in {summary['seconds']} s")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = sys.argv[1]
    environment = read_environment(out)
    dry_run = environment.get("dry_run") == "1"
    with open(f"{out}/steps.tsv", newline="") as file:
        steps = list(csv.DictReader(file, delimiter="\t"))
    summary = {"pass": False, "dry_run": dry_run, "seconds": int(environment.get("seconds", 0)), "steps": [],
               "tests": {}, "sanitizers": {}, "operations": {}, "floors": {}}
    records = []
    for step in steps:
        problems, details = [], {}
        if step["status"] in ("124", "137"):
            problems.append(f"stopped at its limit of {step['limit']} s")
        elif step["status"] != "0":
            problems.append(f"{step['note'] or 'exit status ' + step['status']}")
        elif step["note"]:
            problems.append(step["note"])
        ran = step["status"] != "missing"
        if ran and step["kind"] in ("tests", "cuda-tests"):
            more, details = check_tests(out, step)
            problems += more
            total = summary["tests"].setdefault(step["kind"], {"run": 0, "failed": 0, "skipped": 0, "failing": []})
            for key in total:
                total[key] += details[key]
        elif ran and step["kind"] == "bench":
            more, measured = check_bench(out, step, dry_run)
            problems += more
            records += measured
            details = {"measurements": len(measured)}
        elif step["kind"].startswith("sanitizer"):
            tool = step["kind"].split(":")[1]
            if ran:
                more, details = check_sanitizer(out, step)
                problems += more
            total = summary["sanitizers"].setdefault(
                tool, {"verdict": "clean", "programs": 0, "tests": 0, "errors": 0, "summaries": 0})
            total["programs"] += ran
            for key in details:
                total[key] += details[key]
            if problems:
                total["verdict"] = "FAILED"
        summary["steps"].append({**step, "problems": problems, "details": details})
    for kind in REQUIRED:
        if kind not in {s["kind"] for s in steps}:
            summary["steps"].append({"kind": kind, "name": "all", "log": "-", "problems": ["never ran"], "details": {}})
    summary["operations"] = best_by_operation(records)
    summary["floors"] = floors(records)
    summary["pass"] = not any(s["problems"] for s in summary["steps"])
    for name, value in (("environment", environment), ("summary", summary)):
        with open(f"{out}/{name}.json", "w") as file:
            json.dump(value, file, indent=1)
            file.write("\n")
    if os.path.exists(f"{out}/environment.txt"):
        os.remove(f"{out}/environment.txt")
    print_table(summary)
    sys.exit(0 if summary["pass"] else 1)


if __name__ == "__main__":
    main()
