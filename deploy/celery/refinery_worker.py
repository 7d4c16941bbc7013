"""The Celery app of a worker: `celery -A refinery_worker worker`. Broker and backend come from the environment."""

import os

from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

app = make_app({"broker": os.environ["CELERY_BROKER_URL"], "backend": os.environ["CELERY_RESULT_BACKEND"]})
# A worker takes a run only when it can begin with it, or runs would wait in one worker while another is idle.
app.conf.update(worker_prefetch_multiplier=1, worker_disable_prefetch=True)
execute_job = create_execute_job_task(app)
resume_job = create_resume_job_task(app)
