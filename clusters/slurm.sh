#!/usr/bin/env bash
# A SLURM array job: each task runs the same command, and all share one study.
#
#   NAS_SEARCH_STORAGE=postgresql://user:password@database/name sbatch slurm.sh
#
#SBATCH --job-name=nas-search
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=nas-search-%A_%a.log
# On GPUs:
##SBATCH --gres=gpu:1
set -euo pipefail

: "${NAS_SEARCH_STORAGE:?name the database: NAS_SEARCH_STORAGE=postgresql://user:password@database/name}"
cd "${SLURM_SUBMIT_DIR:?start this with sbatch}"

# `exec`: the SIGTERM that ends a job reaches the search itself, which hands back what it had begun.
exec srun --kill-on-bad-exit=0 .venv/bin/nas-search \
  --study mine \
  --trials 1000 \
  --dataset mnist \
  --artifacts "$SLURM_SUBMIT_DIR/artifacts" \
  --out "$SLURM_SUBMIT_DIR/runs"
